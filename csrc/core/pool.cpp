#include "core/pool.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace pyd {
namespace {

// One call of parallel_for. Threads take indices from `next` until `count` is reached.
struct Job {
  void (*body)(void*, int64_t) = nullptr;
  void* context = nullptr;
  int64_t count = 0;
  std::atomic<int64_t> next{0};
};

thread_local bool inside_job = false;

void work_on(Job& job) {
  const bool nested = inside_job;
  inside_job = true;
  for (int64_t index; (index = job.next.fetch_add(1, std::memory_order_relaxed)) < job.count;) {
    job.body(job.context, index);
  }
  inside_job = nested;
}

// Workers wait for a new generation, help with its job and count themselves out. The caller returns only when every
// worker that joined has left, so a Job may live on the caller's stack.
class Pool {
 public:
  explicit Pool(int workers) : pid_(getpid()), wanted_(workers) {
    std::lock_guard<std::mutex> lock(mutex_);
    // Fewer threads than wanted only means less speed: the caller works through the job in any case.
    for (int i = 0; i < workers; ++i) {
      try {
        std::thread(&Pool::loop, this).detach();
        ++alive_;
      } catch (const std::system_error&) {
        break;
      }
    }
  }
  bool usable(int workers) const { return pid_ == getpid() && wanted_ == workers; }
  bool belongs_to_this_process() const { return pid_ == getpid(); }

  void run(Job& job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      ++generation_;
    }
    wake_.notify_all();
    work_on(job);
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;
    idle_.wait(lock, [this] { return busy_ == 0; });
  }

  // Ends the workers; the last one out deletes the pool.
  void retire() {
    std::unique_lock<std::mutex> lock(mutex_);
    retired_ = true;
    const bool empty = alive_ == 0;
    wake_.notify_all();
    lock.unlock();
    if (empty) delete this;
  }

 private:
  void loop() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return retired_ || generation_ != seen; });
      if (retired_) break;
      seen = generation_;
      Job* job = job_;
      if (job == nullptr) continue;
      ++busy_;
      lock.unlock();
      work_on(*job);
      lock.lock();
      if (--busy_ == 0) idle_.notify_one();
    }
    const bool last = --alive_ == 0;
    lock.unlock();
    if (last) delete this;
  }

  const pid_t pid_;
  const int wanted_;
  int alive_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  Job* job_ = nullptr;
  uint64_t generation_ = 0;
  int busy_ = 0;
  bool retired_ = false;
};

std::atomic<int> requested_threads{1};
std::atomic<pid_t> pool_user{0};
Pool* pool = nullptr;

// The pool serves one caller at a time; a second Python thread that arrives meanwhile works alone. A user that is another
// process is the parent, copied by fork in the middle of a call: its claim does not count here.
bool take_pool() {
  const pid_t self = getpid();
  pid_t user = pool_user.load();
  return user != self && pool_user.compare_exchange_strong(user, self);
}

// After a fork the child owns none of the parent's threads and must not touch the parent's locks: it leaves the old pool
// where it is and makes its own. Workers are detached and never joined, so nothing runs in static destructors.
Pool* current_pool(int workers) {
  if (pool != nullptr && pool->usable(workers)) return pool;
  if (pool != nullptr && pool->belongs_to_this_process()) pool->retire();
  pool = new Pool(workers);
  return pool;
}

}  // namespace

void set_num_threads(int threads) { requested_threads.store(threads < 1 ? 1 : threads); }
int num_threads() { return requested_threads.load(); }
bool inside_parallel() { return inside_job; }

void parallel_for_raw(int64_t count, void (*body)(void*, int64_t), void* context) {
  if (count <= 0) return;
  // A loop of one item leaves the pool to the loops inside it.
  if (count == 1) {
    body(context, 0);
    return;
  }
  Job job;
  job.body = body;
  job.context = context;
  job.count = count;
  const int threads = num_threads();
  if (inside_job || threads == 1 || !take_pool()) {
    work_on(job);
    return;
  }
  current_pool(threads - 1)->run(job);
  pool_user.store(0);
}

}  // namespace pyd

#include "core/columns.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/pool.h"
#include "core/scratch.h"
#include "math/philox.h"

namespace pyd {
namespace {

constexpr int64_t kRowsPerTask = 256;
constexpr int kMaxDepth = 64;      // of nodes in nodes
constexpr int64_t kMaxSlots = 127;  // programs are int8
constexpr int kCovarianceDraws = 12;

const Node& node_at(const DrawColumnsArgs& args, int64_t i) {
  return *reinterpret_cast<const Node*>(args.nodes.data + i * kNodeValues);
}
const DrawnColumn& column_at(const DrawColumnsArgs& args, int64_t i) {
  return *reinterpret_cast<const DrawnColumn*>(args.columns.data + i * kDrawnColumnValues);
}

// ---- Kinds of distributions

// 2^x by a Taylor polynomial on [-1/2, 1/2]; distributions.py: _exp2.
double exp2_of(double x) {
  // Where a float64 has no such power either.
  if (!(x > -1e4 && x < 1e4)) return x < 0 ? 0.0 : x;
  const double whole = std::nearbyint(x);
  const double t = (x - whole) * 0.6931471805599453;
  double term = 1.0, total = 1.0;
  for (int power = 1; power < 16; ++power) {
    term = term * t / power;
    total = total + term;
  }
  return std::ldexp(total, static_cast<int>(whole));
}

// Eigenvectors (columns of v) of a symmetric matrix by Jacobi's rotations; pydegrade/ops/eigen.py.
void symmetric_eigen3(double a[3][3], double v[3][3]) {
  constexpr int kPairs[3][2] = {{0, 1}, {0, 2}, {1, 2}};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) v[i][j] = i == j ? 1.0 : 0.0;
  }
  for (int sweep = 0; sweep < 12; ++sweep) {
    if (a[0][1] == 0.0 && a[0][2] == 0.0 && a[1][2] == 0.0) return;
    for (const auto& pair : kPairs) {
      const int p = pair[0], q = pair[1];
      if (a[p][q] == 0.0) continue;
      double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
      theta = theta < -1e150 ? -1e150 : theta > 1e150 ? 1e150 : theta;
      const double t = (theta >= 0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
      const double c = 1 / std::sqrt(t * t + 1);
      const double s = t * c;
      auto turn = [&](double& at_p, double& at_q) {
        const double first = at_p, second = at_q;
        at_p = c * first - s * second;
        at_q = s * first + c * second;
      };
      for (int k = 0; k < 3; ++k) turn(a[k][p], a[k][q]);
      for (int k = 0; k < 3; ++k) turn(a[p][k], a[q][k]);
      for (int k = 0; k < 3; ++k) turn(v[k][p], v[k][q]);
    }
  }
}

// |U^T diag(d) U| from twelve uniforms; distributions.py: BsrganCovariance.prepare.
void covariance(const double* u, double out[9]) {
  const double* const d = u;
  const double* const m = u + 3;
  double gram[3][3], vectors[3][3];
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      gram[i][j] = (m[3 * i] * m[3 * j] + m[3 * i + 1] * m[3 * j + 1]) + m[3 * i + 2] * m[3 * j + 2];
    }
  }
  symmetric_eigen3(gram, vectors);
  // Columns by falling eigenvalue; equal ones stay in order.
  int order[3] = {0, 1, 2};
  for (int i = 1; i < 3; ++i) {
    for (int k = i; k > 0 && gram[order[k]][order[k]] > gram[order[k - 1]][order[k - 1]]; --k) {
      const int kept = order[k];
      order[k] = order[k - 1];
      order[k - 1] = kept;
    }
  }
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      double term[3];
      for (int k = 0; k < 3; ++k) term[k] = vectors[k][order[i]] * d[k] * vectors[k][order[j]];
      out[3 * i + j] = std::fabs(term[0] + term[1] + term[2]);
    }
  }
}

// Position whose share of [0, 1) holds u.
int64_t pick(const double* edges, int64_t count, double u) {
  int64_t chosen = 0;
  while (chosen < count - 1 && edges[chosen] <= u) ++chosen;
  return chosen;
}

// One row on its way: what has been drawn, and what columns of one slot share.
class Row {
 public:
  Row(const DrawColumnsArgs& args, int64_t at, const double* uniforms) : args_(args), at_(at), uniforms_(uniforms) {}

  double value(const DrawnColumn& column) { return evaluate(column.node, column.first_uniform); }

  void store(const DrawnColumn& column, double value) const {
    int32_t* const word = args_.words.data + column.row * args_.indices.count + at_;
    if (column.is_real) {
      const float real = static_cast<float>(value);
      std::memcpy(word, &real, sizeof real);
    } else {
      const bool fits = value > -2147483649.0 && value < 2147483648.0;
      *word = fits ? static_cast<int32_t>(value) : INT32_MIN;
    }
  }

 private:
  double earlier(const Node& node) const {
    const int32_t* const word = args_.words.data + node.source * args_.indices.count + at_;
    if (!node.source_is_real) return *word;
    float real;
    std::memcpy(&real, word, sizeof real);
    return real;
  }

  double evaluate(int64_t place, int64_t first_uniform) {
    const Node& node = node_at(args_, place);
    const double* const number = args_.numbers.data + node.first_number;
    const double* const u = uniforms_ + first_uniform;
    switch (node.kind) {
      case kNodeConstant: return number[0];
      case kNodeUniform: {
        const double value = number[0] + number[1] * u[0];
        return node.option ? std::nearbyint(value) : value;
      }
      case kNodeLogUniform: {
        const double value = number[0] * exp2_of(number[2] * u[0]);
        const double above = value < number[0] ? number[0] : value;
        return above > number[1] ? number[1] : above;
      }
      case kNodeReciprocal: return 1.0 / (number[0] + number[1] * u[0]);
      case kNodeSqrt: return std::sqrt(number[0] + number[1] * u[0]);
      case kNodeSqrtUpTo: {
        const double limit = earlier(node);
        const double variance = limit * limit;
        const double low = variance < number[0] ? variance : number[0];
        const double span = variance - number[0] > 0.0 ? variance - number[0] : 0.0;
        return std::sqrt(low + span * u[0]);
      }
      case kNodeIntegers: {
        const double step = std::floor(u[0] * number[2]);
        return number[0] + number[1] * (step < number[2] - 1 ? step : number[2] - 1);
      }
      case kNodeChoice: return number[node.count - 1 + pick(number, node.count, u[0])];
      case kNodeMixture:
        return evaluate(args_.children[node.first_child + pick(number, node.count, u[0])], first_uniform + 1);
      case kNodeBy: {
        const double source = earlier(node);
        for (int32_t k = node.count; k-- > 0;) {
          if (source == number[k]) return evaluate(args_.children[node.first_child + k], first_uniform);
        }
        return node.option ? evaluate(args_.children[node.first_child + node.count], first_uniform) : NAN;
      }
      default:  // kNodeCovariance
        if (covariance_of_ != first_uniform) {
          covariance(u, covariance_);
          covariance_of_ = first_uniform;
        }
        return number[0] * covariance_[node.option];
    }
  }

  const DrawColumnsArgs& args_;
  const int64_t at_;
  const double* const uniforms_;
  double covariance_[9];
  int64_t covariance_of_ = -1;
};

// ---- Running orders

void draw_order(const DrawColumnsArgs& args, const double* uniforms, uint8_t* program) {
  const int32_t* const order = args.order.data;
  const int32_t options = order[0], slots = order[1];
  const double* const u = uniforms + order[3];
  if (options > 0) {
    const double* const edges = args.numbers.data + order[2];
    const int64_t chosen = options == 1 ? 0 : pick(edges, options, u[0]);
    for (int32_t k = 0; k < slots; ++k) program[k] = static_cast<uint8_t>(order[4 + chosen * slots + k]);
    return;
  }

  // Fisher-Yates over the groups, then the pairs that must keep their order.
  const int32_t groups = order[2], pairs = order[4], head = order[5];
  int32_t at[kMaxSlots], start[kMaxSlots];
  const int32_t* next = order + 6 + head;
  for (int32_t group = 0; group < groups; ++group) {
    at[group] = group;
    start[group] = static_cast<int32_t>(next - order);
    next += 1 + *next;
  }
  for (int32_t last = groups - 1, step = 0; last > 0; --last, ++step) {
    const int32_t drawn = static_cast<int32_t>(u[step] * (last + 1));
    const int32_t other = drawn < last ? drawn : last;
    const int32_t kept = at[last];
    at[last] = at[other];
    at[other] = kept;
  }
  const int32_t rest = slots - static_cast<int32_t>(next - order - 6 - groups);
  for (int32_t pair = 0; pair < pairs; ++pair) {
    const int32_t first = next[rest + 2 * pair], second = next[rest + 2 * pair + 1];
    int32_t at_first = 0, at_second = 0;
    while (at[at_first] != first) ++at_first;
    while (at[at_second] != second) ++at_second;
    if (at_second < at_first) {
      at[at_first] = second;
      at[at_second] = first;
    }
  }
  for (int32_t k = 0; k < head; ++k) *program++ = static_cast<uint8_t>(order[6 + k]);
  for (int32_t place = 0; place < groups; ++place) {
    const int32_t* const group = order + start[at[place]];
    for (int32_t k = 0; k < group[0]; ++k) *program++ = static_cast<uint8_t>(group[1 + k]);
  }
  for (int32_t k = 0; k < rest; ++k) *program++ = static_cast<uint8_t>(next[k]);
}

// ---- Whether tables stay within themselves

const char* fault_of_nodes(const DrawColumnsArgs& args, std::vector<int32_t>& uniforms) {
  const int64_t nodes = args.nodes.count / kNodeValues;
  uniforms.assign(static_cast<size_t>(nodes), 0);
  std::vector<int32_t> depth(static_cast<size_t>(nodes), 1);
  for (int64_t i = 0; i < nodes; ++i) {
    const Node& node = node_at(args, i);
    if (node.kind < 0 || node.kind >= kNodeKinds) return "a node has an unknown kind";
    if (node.count < 0 || node.first_number < 0 || node.first_child < 0) return "a node counts below 0";
    constexpr int64_t kNumbers[] = {1, 2, 3, 2, 2, 1, 3, 0, 0, 0, 1};
    const int64_t count = node.count;
    const bool chooses = node.kind == kNodeChoice || node.kind == kNodeMixture;
    if (chooses && count < 1) return "a choice among nothing";
    const int64_t numbers = node.kind == kNodeChoice    ? 2 * count - 1
                            : node.kind == kNodeMixture ? count - 1
                            : node.kind == kNodeBy      ? count
                                                        : kNumbers[node.kind];
    if (node.first_number + numbers > args.numbers.count) return "a node's numbers lie outside";
    const bool has_source = node.kind == kNodeSqrtUpTo || node.kind == kNodeBy;
    if (has_source && (node.source < 0 || node.source >= args.rows)) return "a node's source lies outside";
    if (node.kind == kNodeCovariance && (node.option < 0 || node.option >= 9)) return "no entry of a covariance";
    const int64_t children = node.kind == kNodeMixture ? count : node.kind == kNodeBy ? count + (node.option != 0) : 0;
    if (node.first_child + children > args.children.count) return "a node's children lie outside";
    int32_t most = 0;
    for (int64_t k = 0; k < children; ++k) {
      const int32_t child = args.children[node.first_child + k];
      if (child < 0 || child >= i) return "a child must stand before its parent";
      const auto place = static_cast<size_t>(child);
      most = uniforms[place] > most ? uniforms[place] : most;
      if (depth[place] + 1 > depth[static_cast<size_t>(i)]) depth[static_cast<size_t>(i)] = depth[place] + 1;
    }
    if (depth[static_cast<size_t>(i)] > kMaxDepth) return "nodes stand too deep in each other";
    uniforms[static_cast<size_t>(i)] = node.kind == kNodeConstant     ? 0
                                       : node.kind == kNodeCovariance ? kCovarianceDraws
                                       : node.kind == kNodeBy         ? most
                                                                      : most + 1;
  }
  return nullptr;
}

const char* fault_of_order(const DrawColumnsArgs& args) {
  if (args.order.count == 0) return args.program.count == 0 ? nullptr : "program has values and order has none";
  if (args.order.count < 5) return "order is too short";
  const int32_t* const order = args.order.data;
  const int64_t options = order[0], slots = order[1], first_uniform = order[3];
  if (options < 0 || slots < 1 || slots > kMaxSlots || first_uniform < 0) return "order is out of range";
  if (args.program.count != slots * args.indices.count) return "program must have a value per sample and slot";
  if (options > 0) {
    if (options > (args.order.count - 4) / slots || args.order.count != 4 + options * slots) {
      return "order must be a table of options";
    }
    if (order[2] < 0 || order[2] + options - 1 > args.numbers.count) return "the order's edges lie outside";
    if (options > 1 && first_uniform >= args.hash.count) return "the order's uniform lies outside";
    return nullptr;
  }
  if (args.order.count < 6) return "order is too short";
  const int64_t groups = order[2], pairs = order[4], head = order[5];
  if (groups < 1 || groups > slots || pairs < 0 || head < 0 || head > slots) return "order is out of range";
  if (first_uniform + groups - 1 > args.hash.count) return "the order's uniforms lie outside";
  int64_t place = 6 + head, used = head;
  for (int64_t group = 0; group < groups; ++group) {
    if (place >= args.order.count) return "order is too short";
    const int64_t size = order[place];
    if (size < 0 || size > slots - used) return "a group of the order is too large";
    place += 1 + size;
    used += size;
  }
  const int64_t pair_at = place + slots - used;
  if (pairs > kMaxSlots * kMaxSlots || pair_at + 2 * pairs != args.order.count) return "order has another length";
  for (int64_t k = pair_at; k < args.order.count; ++k) {
    if (order[k] < 0 || order[k] >= groups) return "a pair of the order names no group";
  }
  return nullptr;
}

}  // namespace

const char* fault_of(const DrawColumnsArgs& args) {
  if (args.nodes.count % kNodeValues != 0 || args.columns.count % kDrawnColumnValues != 0) {
    return "nodes or columns are cut off";
  }
  if (args.rows < 0 || args.rows > INT32_MAX || args.words.count != args.rows * args.indices.count) {
    return "words must have a value per row and sample";
  }
  std::vector<int32_t> uniforms;
  const char* const fault = fault_of_nodes(args, uniforms);
  if (fault != nullptr) return fault;
  for (int64_t i = 0; i < args.columns.count / kDrawnColumnValues; ++i) {
    const DrawnColumn& column = column_at(args, i);
    if (column.node < 0 || column.node >= args.nodes.count / kNodeValues) return "a column's node lies outside";
    if (column.row < 0 || column.row >= args.rows) return "a column's row lies outside";
    if (column.first_uniform < 0 ||
        column.first_uniform + static_cast<int64_t>(uniforms[static_cast<size_t>(column.node)]) > args.hash.count) {
      return "a column's uniforms lie outside";
    }
  }
  return fault_of_order(args);
}

Status draw_columns(const DrawColumnsArgs& args) {
  std::atomic<bool> exhausted{false};
  const int64_t count = args.indices.count, draws = args.hash.count;
  const int64_t columns = args.columns.count / kDrawnColumnValues;
  const int64_t slots = args.order.count > 0 ? args.order[1] : 0;
  parallel_for((count + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t block) {
    Scratch scratch;
    double* const uniforms = scratch.take<double>(draws);
    if (uniforms == nullptr) {
      exhausted = true;
      return;
    }
    const int64_t end = (block + 1) * kRowsPerTask < count ? (block + 1) * kRowsPerTask : count;
    for (int64_t at = block * kRowsPerTask; at < end; ++at) {
      const uint64_t index = static_cast<uint64_t>(args.indices[at]);
      for (int64_t j = 0; j < draws; ++j) {
        const Philox4 words =
            philox4x32_10(args.seed_lo, args.seed_hi, static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                          args.hash[j], kPhiloxNamedDraw | args.draw[j]);
        uniforms[j] = philox_uniform53(words.w[0], words.w[1]);
      }
      Row row(args, at, uniforms);
      for (int64_t i = 0; i < columns; ++i) {
        const DrawnColumn& column = column_at(args, i);
        row.store(column, row.value(column));
      }
      if (slots > 0) draw_order(args, uniforms, args.program.data + at * slots);
    }
  });
  return exhausted ? Status::kOutOfMemory : Status::kOk;
}

}  // namespace pyd

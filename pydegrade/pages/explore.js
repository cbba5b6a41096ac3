// HR and LR at one place and zoom, with a line between them. The images are exchanged from outside; where a person looks stays.
const look = { x: 0, y: 0, zoom: 0, at: 0.5 };
const part = (name) => element.querySelector(name);

function apply() {
  const split = part(".split"), hr = part(".hr img"), lr = part(".lr img");
  if (!split || !hr.naturalWidth || !lr.naturalWidth) return;
  if (!look.zoom) fit();
  const factor = hr.naturalWidth / lr.naturalWidth;
  hr.style.transform = `translate(${look.x}px, ${look.y}px) scale(${look.zoom})`;
  lr.style.transform = `translate(${look.x}px, ${look.y}px) scale(${look.zoom * factor})`;
  split.style.setProperty("--at", look.at);
  part(".zoom").textContent = Number(look.zoom.toPrecision(3)) + "\u00d7";
}
function fit() {
  const split = part(".split"), hr = part(".hr img");
  look.zoom = Math.min(split.clientWidth / hr.naturalWidth, split.clientHeight / hr.naturalHeight);
  look.x = (split.clientWidth - hr.naturalWidth * look.zoom) / 2;
  look.y = (split.clientHeight - hr.naturalHeight * look.zoom) / 2;
}
function settle() {
  const images = [part(".hr img"), part(".lr img")];
  if (images.every(Boolean)) Promise.all(images.map((image) => image.decode())).then(apply, apply);
}

element.addEventListener("wheel", (event) => {
  const split = part(".split");
  if (!split.contains(event.target)) return;
  event.preventDefault();
  const box = split.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  const zoom = Math.max(0.25, Math.min(64, look.zoom * 2 ** (-event.deltaY / 300))), by = zoom / look.zoom;
  Object.assign(look, { x: x - (x - look.x) * by, y: y - (y - look.y) * by, zoom });
  apply();
}, { passive: false });

let held = "";
element.addEventListener("pointerdown", (event) => {
  const split = part(".split"), box = split.getBoundingClientRect();
  if (!split.contains(event.target)) return;
  held = Math.abs(event.clientX - box.left - look.at * box.width) < 14 ? "line" : "image";
  element.setPointerCapture(event.pointerId);
  event.preventDefault();
});
element.addEventListener("pointermove", (event) => {
  const box = part(".split").getBoundingClientRect();
  if (held === "line") look.at = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  if (held === "image") Object.assign(look, { x: look.x + event.movementX, y: look.y + event.movementY });
  if (held) apply();
});
element.addEventListener("pointerup", () => { held = ""; });
element.addEventListener("dblclick", () => { look.zoom = 0; apply(); });
new ResizeObserver(() => { look.zoom = 0; apply(); }).observe(element);
watch("value", settle);
settle();

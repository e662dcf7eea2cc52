// What the page does beside the explorer: copying, the threshold's slider, the map of embeddings.
"use strict";

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.body.appendChild(make("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button || button.dataset.busy) return;
  const label = button.textContent;
  await copyText(button.dataset.copy);
  button.dataset.busy = "1";
  button.textContent = "Copied";
  setTimeout(() => {
    button.textContent = label;
    delete button.dataset.busy;
  }, 1200);
});

function startThreshold({curve, eer}) {
  const slider = byId("threshold-slider"), says = byId("threshold-says"), mark = byId("mark");
  const wanted = eer ? eer.threshold : 0;
  const distance = (at) => Math.abs(curve[at].threshold - wanted);
  slider.value = curve.reduce((best, _, at) => (distance(at) < distance(best) ? at : best), 0);
  const oneIn = (rate) => (rate > 0.02 ? percent(rate) : rate > 0 ? `1 in ${Math.round(1 / rate).toLocaleString("en")}` : "none");
  const show = () => {
    const at = curve[Number(slider.value)];
    says.textContent = `From ${at.threshold.toFixed(3)} on: ${percent(at.true_positive_rate)} of the pairs of one identity are found, ` +
      `and ${oneIn(at.false_positive_rate)} of the pairs of two identities ${at.false_positive_rate > 0.02 ? "are" : "is"} taken for one.`;
    slider.setAttribute("aria-valuetext", at.threshold.toFixed(3));
    if (!mark) return;
    const {low, high} = mark.dataset, x = (640 * (at.threshold - low)) / (high - low);
    mark.setAttribute("x1", x);
    mark.setAttribute("x2", x);
  };
  slider.addEventListener("input", show);
  show();
}

function startMap(points) {
  const svg = byId("points"), circles = [...svg.querySelectorAll("circle")], tip = byId("tip");
  const places = circles.map((circle) => [Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))]);
  let lit = null;
  const show = (found, event) => {
    tip.hidden = found === null;
    if (found !== null) {
      const [identity, camera, path, thumb] = points[found];
      tip.replaceChildren(...(thumb === null ? [] : [make("span", null, `thumb t${thumb}`)]), make("b", identity), camera && `, ${camera}`, make("br"), path);
      placeTip(event);
    }
    if (found === lit) return;
    lit = found;
    svg.classList.toggle("faded", found !== null);
    circles.forEach((circle, at) => {
      const same = found !== null && points[at][0] === points[found][0];
      circle.classList.toggle("lit", same);
      circle.setAttribute("r", at === found ? 7 : same ? 4.5 : 3);
    });
  };
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let found = null, least = 14 ** 2;
    places.forEach(([x, y], index) => {
      const away = (x - at.x) ** 2 + (y - at.y) ** 2;
      if (away < least) [found, least] = [index, away];
    });
    show(found, event);
  });
  svg.addEventListener("pointerleave", () => show(null));
}

if (DATA.threshold && DATA.threshold.curve && byId("threshold-slider")) startThreshold(DATA.threshold);
if (DATA.map.length) startMap(DATA.map);

// Charts on canvas: each has a layer for all trials, drawn when the filter changes, and one for the trial pointed at.
"use strict";

const DATA = JSON.parse(document.getElementById("record").textContent);
const byId = (id) => document.getElementById(id);
const CHARTS = [];
const INSIDE = {left: 46, right: 14, top: 10, bottom: 34};

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function mixed(low, high, share) {
  const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const [from, to] = [parts(low), parts(high)];
  return `rgb(${from.map((part, at) => Math.round(part + (to[at] - part) * share))})`;
}

// Round numbers within [low, high], about `count` of them.
function roundNumbers(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((digit) => digit * power >= raw) * power, found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}

const percent = (share) => (share === null ? "" : (100 * share).toFixed(1) + " %");
const shortPercent = (share) => +(100 * share).toPrecision(4) + "%";

function range(values, margin) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (value !== null) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low > high) return [0, 1];
  const pad = (high - low || Math.abs(high) || 1) * margin;
  return [low - pad, high + pad];
}

// A chart in the element `id`. `paint(layer)` draws all trials; `light(layer, trial)` one; `near(x, y)` finds one.
class Chart {
  constructor(id, {paint, light, near, height}) {
    Object.assign(this, {box: byId(id), paint, light, near, height, painted: false});
    this.layers = [0, 1].map(() => this.box.appendChild(document.createElement("canvas")));
    this.layers[0].setAttribute("role", "img");
    this.layers[0].setAttribute("aria-label", this.box.closest("figure").querySelector("figcaption").textContent);
    this.box.addEventListener("pointermove", (event) => this.pointed(event));
    this.box.addEventListener("pointerleave", () => !this.held && Explorer.light(null));
    this.box.addEventListener("click", (event) => {
      const trial = this.near(...this.at(event));
      if (trial && !this.moved) Explorer.open(trial);
    });
    CHARTS.push(this);
  }
  at(event) {
    const box = this.box.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
  pointed(event) {
    if (!this.held) Explorer.light(this.near(...this.at(event)), event);
  }
  clear(layer) {
    const scale = window.devicePixelRatio || 1, canvas = this.layers[layer];
    if (this.height && !layer) this.box.style.height = this.height(this.box.clientWidth) + "px";
    [this.width, this.tall] = [this.box.clientWidth, this.box.clientHeight];
    [canvas.width, canvas.height] = [this.width * scale, this.tall * scale];
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.font = "12px " + getComputedStyle(document.body).fontFamily;
    context.textBaseline = "middle";
    return context;
  }
  draw() {
    const context = this.clear(0);
    if (this.width) this.paint(context);
    this.show(Explorer.lit);
  }
  show(trial) {
    const context = this.clear(1);
    if (trial && this.width) this.light(context, trial);
  }
}

// A frame with ticks: gives the functions from values to pixels.
function frame(context, chart, xs, ys, {xLabel, yLabel, xTick = (v) => +v.toPrecision(4), area, xTicks} = {}) {
  const box = area || {
    left: INSIDE.left, right: chart.width - INSIDE.right, top: INSIDE.top, bottom: chart.tall - INSIDE.bottom,
  };
  const toX = (value) => box.left + ((value - xs[0]) / (xs[1] - xs[0])) * (box.right - box.left);
  const toY = (value) => box.bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (box.bottom - box.top);
  context.strokeStyle = colour("grid");
  context.fillStyle = colour("soft");
  context.lineWidth = 1;
  context.textAlign = "right";
  for (const value of roundNumbers(ys[0], ys[1], 5)) {
    line(context, [[box.left, toY(value)], [box.right, toY(value)]]);
    if (yLabel !== null) context.fillText(shortPercent(value), box.left - 6, toY(value));
  }
  context.textAlign = "center";
  const ticks = xTicks || roundNumbers(xs[0], xs[1], Math.max(2, (box.right - box.left) / 90)).map((v) => [v, xTick(v)]);
  let last = -Infinity;
  for (const [value, label] of ticks) {
    const half = context.measureText(label).width / 2, x = toX(value);
    const place = Math.max(box.left + half - 8, Math.min(x, box.right - half + 8));
    line(context, [[x, box.bottom], [x, box.bottom + 4]]);
    if (place - half < last + 6) continue;
    context.fillText(label, place, box.bottom + 13);
    last = place + half;
  }
  if (xLabel) {
    context.textAlign = "right";
    context.fillText(xLabel, box.right, box.bottom + 27);
  }
  return [toX, toY];
}

function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function dot(context, x, y, radius, hollow) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  hollow ? context.stroke() : context.fill();
}

// Trials in the order of drawing: those that the filter leaves out first, faintly.
function inOrder(draw, context) {
  for (const kept of [false, true]) {
    context.globalAlpha = kept ? (DATA.trials.length > 150 ? 0.6 : 0.85) : 0.1;
    for (const trial of DATA.trials) if (Explorer.kept.has(trial.number) === kept) draw(trial);
  }
  context.globalAlpha = 1;
}

function nearest(points, x, y, reach = 26) {
  let found = null, least = reach * reach;
  for (const [px, py, trial] of points) {
    const away = (px - x) ** 2 + (py - y) ** 2;
    if (away < least && Explorer.kept.has(trial.number)) [found, least] = [trial, away];
  }
  return found;
}

// The chart of one dot a trial: `where(trial)` gives x and y, or null.
function dotChart(id, {where, xs, ys, look, over, labels}) {
  let places = new Map(), points = [];
  return new Chart(id, {
    paint(context) {
      const [toX, toY] = frame(context, this, xs, ys, labels);
      places = new Map();
      if (over) over(context, toX, toY);
      inOrder((trial) => {
        const at = where(trial);
        if (!at) return;
        const [x, y] = [toX(at[0]), toY(at[1])];
        places.set(trial, [x, y]);
        look(context, trial, x, y);
      }, context);
      points = [...places].map(([trial, [x, y]]) => [x, y, trial]);
    },
    light(context, trial) {
      const at = places.get(trial);
      context.fillStyle = colour("lit");
      if (at) dot(context, ...at, 6);
    },
    near: (x, y) => nearest(points, x, y),
  });
}

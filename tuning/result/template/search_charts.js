// The charts of the search: progress, learning curves, parallel coordinates, slices, importances, the Pareto front.
"use strict";

function progressChart() {
  const scored = TRIALS.filter((trial) => trial.score !== null), best = [];
  for (const trial of scored)
    if (trial.rung === LONGEST && (!best.length || trial.score > best[best.length - 1][1])) best.push([trial.spent, trial.score]);
  const end = TRIALS[TRIALS.length - 1].spent;
  dotChart("progress", {
    where: (trial) => (trial.score === null ? null : [trial.spent, trial.score]),
    xs: [0, end * 1.02 || 1], ys: range(scored.map((trial) => trial.score), 0.06),
    labels: {xLabel: "epochs spent, trials in the order of their numbers"},
    look(context, trial, x, y) {
      context.fillStyle = context.strokeStyle = trial.number === DATA.best ? colour("orange") : colour(trial.rung === LONGEST ? "blue" : "faint");
      dot(context, x, y, trial.rung === LONGEST ? 3.4 : 2.8, trial.rung !== LONGEST);
    },
    over(context, toX, toY) {
      context.strokeStyle = colour("orange");
      context.lineWidth = 1.6;
      const steps = best.flatMap(([x, y], at) => (at ? [[toX(x), toY(best[at - 1][1])], [toX(x), toY(y)]] : [[toX(x), toY(y)]]));
      if (best.length) line(context, [...steps, [toX(end), toY(best[best.length - 1][1])]]);
      context.lineWidth = 1;
    },
  });
}

function curvesChart() {
  let places = [], scale = [];
  const all = TRIALS.flatMap((trial) => trial.curves.map(([epochs, scores]) => [trial, epochs, scores]));
  const draw = (context, trial) => {
    for (const [epochs, scores] of trial.curves) {
      line(context, epochs.map((epoch, at) => [scale[0](epoch), scale[1](scores[at])]));
      const end = epochs.length - 1;
      dot(context, scale[0](epochs[end]), scale[1](scores[end]), 2);
    }
  };
  new Chart("curves", {
    paint(context) {
      const xs = [0, all.reduce((most, [, epochs]) => Math.max(most, epochs[epochs.length - 1]), 1)];
      scale = frame(context, this, xs, [0, range(all.flatMap(([, , scores]) => scores), 0)[1] * 1.05], {xLabel: "epochs trained"});
      context.lineWidth = TRIALS.length > 150 ? 0.7 : 1.1;
      inOrder((trial) => {
        context.strokeStyle = context.fillStyle = trial.here === null ? colour("faint") : shade(trial);
        draw(context, trial);
      }, context);
      places = all.flatMap(([trial, epochs, scores]) => epochs.map((epoch, at) => [scale[0](epoch), scale[1](scores[at]), trial]));
    },
    light(context, trial) {
      context.strokeStyle = context.fillStyle = colour("lit");
      context.lineWidth = 2.6;
      draw(context, trial);
    },
    near: (x, y) => nearest(places, x, y, 18),
  });
}

function parallelChart() {
  const axes = DATA.axes, count = axes.length + 1, score = axes.length;
  const conditional = axes.some((axis, at) => SCORED.some((trial) => trial.places[at] === null));
  byId("parallel").style.minWidth = `${Math.max(280, count * 92)}px`;
  let chart, toX, toY, start;
  const heights = (trial) => [...trial.places.map((place) => (place === null ? -0.13 : place)), shareOf(trial)];
  const path = (trial) => heights(trial).map((height, at) => [toX(at), toY(height)]);
  const names = (key) => key.replaceAll("_", " ").split(" ").reduce((lines, word) =>
    (lines.length && (lines[lines.length - 1] + " " + word).length <= 13 ? [...lines.slice(0, -1), lines[lines.length - 1] + " " + word] : [...lines, word]), []).slice(0, 3);
  chart = new Chart("parallel", {
    paint(context) {
      toX = (at) => 26 + (at / (count - 1 || 1)) * (this.width - 96);
      toY = (height) => this.tall - (conditional ? 46 : 16) - height * (this.tall - (conditional ? 46 : 16) - 58);
      context.lineWidth = SCORED.length > 150 ? 0.7 : 1.2;
      inOrder((trial) => {
        if (trial.here === null) return;
        context.strokeStyle = shade(trial);
        if (trial.number === DATA.best) context.lineWidth = 2.6;
        line(context, path(trial));
        context.lineWidth = SCORED.length > 150 ? 0.7 : 1.2;
      }, context);
      [...axes, {key: DATA.metric, ticks: roundNumbers(...SCORES, 5).map((v) => [(v - SCORES[0]) / (SCORES[1] - SCORES[0] || 1), shortPercent(v)])}]
        .forEach((axis, at) => this.axis(context, axis, at));
    },
    light(context, trial) {
      if (trial.here === null) return;
      context.strokeStyle = colour("card");
      context.lineWidth = 6;
      line(context, path(trial));
      context.strokeStyle = colour("lit");
      context.lineWidth = 3;
      line(context, path(trial));
    },
    near(x, y) {
      let found = null, least = 12;
      const at = Math.max(0, Math.min(count - 2, Math.floor(((x - 26) / (this.width - 96)) * (count - 1))));
      for (const trial of SCORED) {
        if (!Explorer.kept.has(trial.number)) continue;
        const [[x1, y1], [x2, y2]] = path(trial).slice(at, at + 2), away = Math.abs(y1 + ((x - x1) / (x2 - x1)) * (y2 - y1) - y);
        if (away < least) [found, least] = [trial, away];
      }
      return found;
    },
  });
  chart.axis = (context, axis, at) => {
    const x = toX(at);
    context.strokeStyle = colour("ink");
    context.lineWidth = 1;
    line(context, [[x, toY(0)], [x, toY(1)]]);
    context.textAlign = at ? "center" : "left";
    context.fillStyle = colour("ink");
    names(axis.key).forEach((part, row, all) => context.fillText(part, at ? x : x - 20, 44 - 14 * (all.length - row)));
    context.textAlign = "left";
    for (const [height, label] of at !== score && conditional && SCORED.some((t) => t.places[at] === null) ? [[-0.13, "not used"], ...axis.ticks] : axis.ticks) {
      const y = toY(height);
      context.globalAlpha = 0.8;
      context.fillStyle = colour("card");
      context.fillRect(x + 5, y - 7, context.measureText(label).width + 4, 14);
      context.globalAlpha = 1;
      context.fillStyle = colour("soft");
      context.fillText(label, x + 7, y);
    }
    const brush = Explorer.brushes.get(at);
    if (!brush) return;
    context.fillStyle = colour("lit");
    context.globalAlpha = 0.3;
    context.fillRect(x - 8, toY(brush[1]), 16, toY(brush[0]) - toY(brush[1]));
    context.globalAlpha = 1;
  };
  const axisAt = (x) => [...Array(count).keys()].find((at) => Math.abs(toX(at) - x) < 16);
  const height = (y) => Math.max(0, Math.min(1, (toY(0) - y) / (toY(0) - toY(1))));
  chart.box.addEventListener("pointerdown", (event) => {
    const [x, y] = chart.at(event), at = axisAt(x);
    chart.moved = false;
    if (at === undefined) return;
    if (y < 50) {
      Explorer.brushes.delete(at);
      chart.moved = true;
      return Explorer.filter();
    }
    start = [at, height(y)];
    chart.held = true;
    chart.box.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  chart.box.addEventListener("pointermove", (event) => {
    const [x, y] = chart.at(event);
    chart.box.style.cursor = axisAt(x) === undefined ? "" : y < 50 ? "pointer" : "ns-resize";
    if (!chart.held) return;
    const ends = [start[1], height(y)].sort((a, b) => a - b);
    if (ends[1] - ends[0] < 0.01) return;
    chart.moved = true;
    Explorer.brushes.set(start[0], ends);
    Explorer.filter();
  });
  for (const name of ["pointerup", "pointercancel"]) chart.box.addEventListener(name, () => (chart.held = false));
}

function slicesChart() {
  const axes = DATA.axes;
  let places = new Map(), points = [];
  const columns = (width) => Math.max(1, Math.min(4, Math.floor(width / 240)));
  new Chart("slices", {
    height: (width) => Math.ceil(axes.length / columns(width)) * 190,
    paint(context) {
      const across = columns(this.width), width = (this.width - 40) / across, ys = range(SCORED.map((trial) => trial.here), 0.06);
      places = new Map(SCORED.map((trial) => [trial, []]));
      axes.forEach((axis, at) => {
        const left = 40 + (at % across) * width + 6, top = Math.floor(at / across) * 190 + 8;
        const area = {left, right: left + width - 20, top, bottom: top + 134};
        const first = at % across === 0;
        const [toX, toY] = frame(context, this, [-0.03, 1.03], ys, {area, xTicks: axis.ticks, yLabel: first ? "" : null});
        context.textAlign = "center";
        context.fillStyle = colour("ink");
        context.fillText(axis.key + (axis.log ? " (log)" : ""), (area.left + area.right) / 2, area.bottom + 30, width - 20);
        for (const trial of SCORED) if (trial.places[at] !== null) places.get(trial).push([toX(trial.places[at]), toY(trial.here)]);
      });
      inOrder((trial) => {
        context.fillStyle = trial.here === null ? "" : shade(trial);
        for (const [x, y] of places.get(trial) || []) dot(context, x, y, trial.number === DATA.best ? 4.4 : SCORED.length > 150 ? 2 : 2.8);
      }, context);
      points = [...places].flatMap(([trial, all]) => all.map(([x, y]) => [x, y, trial]));
    },
    light(context, trial) {
      context.fillStyle = colour("lit");
      for (const [x, y] of places.get(trial) || []) dot(context, x, y, 6);
    },
    near: (x, y) => nearest(points, x, y, 16),
  });
}

function importanceRows() {
  const box = byId("importances"), found = DATA.importances;
  if (typeof found === "string") return box.append(make("p", `None: ${found}.`, "soft"));
  const list = box.appendChild(make("div", null, "weights")), most = Math.max(...found.flatMap(([, share, chance]) => [share, chance]), 0.01);
  for (const [key, share, chance] of found) {
    const track = make("span", null, "track"), bar = track.appendChild(make("i")), mark = track.appendChild(make("u"));
    bar.style.width = `${(100 * share) / most}%`;
    mark.style.left = `calc(${(100 * chance) / most}% - 1px)`;
    track.title = `${key}: ${shortPercent(share)}; by chance up to ${shortPercent(chance)}`;
    list.append(make("span", key), track, make("span", `${Math.round(100 * share)}%`, "n"));
  }
}

function frontChart() {
  if (!DATA.costs.length) return;
  const of = (trial) => (trial.expected === null || trial.costs[0] === null ? null : [trial.costs[0], trial.expected]);
  byId("front-figure").hidden = false;
  dotChart("front", {
    where: of,
    xs: range(TRIALS.map((trial) => trial.costs[0]), 0.05), ys: range(TRIALS.map((trial) => trial.expected), 0.06),
    labels: {xLabel: DATA.costs[0].label, xTick: (value) => (value >= 1e4 ? +(value / 1e6).toPrecision(3) + "M" : +value.toPrecision(3))},
    look(context, trial, x, y) {
      context.fillStyle = trial.number === DATA.best ? colour("orange") : colour(trial.front ? "blue" : "faint");
      dot(context, x, y, trial.front ? 4 : 2.6);
    },
  });
}

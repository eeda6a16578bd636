// Beside the conversation: rooms, services, limits that drain and fill, small plots.

import { bar, duration, el, setBar, svg } from "./dom.js";
import { plural, settingName } from "./words.js";

export function drawRooms(list, rooms, chosen, unread, choose) {
  const had = list.contains(document.activeElement) ? document.activeElement.dataset.room : null;
  list.replaceChildren(
    ...rooms.map((room) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            "data-room": room.name,
            "aria-current": room.name === chosen ? "true" : null,
            onclick: () => choose(room.name),
          },
          el("span", { class: `dot ${room.state}`, title: room.state }),
          el("span", { class: "room-name" }, room.name),
          unread.get(room.name) ? el("span", { class: "unread" }, String(unread.get(room.name))) : null,
          el("span", { class: "room-facts" }, roomFacts(room)),
        ),
      ),
    ),
  );
  if (had !== null) list.querySelector(`[data-room="${CSS.escape(had)}"]`)?.focus();
}

function roomFacts(room) {
  const facts = [];
  if (room.state !== "active") facts.push(room.state);
  if (room.people !== null) facts.push(`${room.people} here`);
  facts.push(`${room.decisions.answered ?? 0} answered`);
  if (room.waiting) facts.push(`${room.waiting} waiting`);
  return facts.join(" · ");
}

export function drawServices(list, state) {
  const bus = state.demo ? "bus in memory" : "NATS";
  const services = [[bus, state.nats_connected ? "up" : "down"], ...Object.entries(state.providers)];
  list.replaceChildren(
    ...services.map(([name, how]) =>
      el("li", { class: `service ${how}` }, el("span", { class: "dot" }), `${name} `, el("b", {}, how)),
    ),
  );
}

// Limits are drawn once and then moved, so that the bars can glide.
export class Limits {
  constructor(box) {
    this.box = box;
    this.rows = new Map();
    this.shape = "";
  }

  show(limits, readAt, rate) {
    this.readAt = readAt;
    this.rate = rate;
    const shape = JSON.stringify(limits.map((one) => [one.of, one.name, one.limit, one.window_seconds]));
    if (shape !== this.shape) this.draw(limits, shape);
    this.limits = limits;
    this.move();
  }

  draw(limits, shape) {
    this.shape = shape;
    this.rows.clear();
    const groups = new Map();
    for (const one of limits) {
      const row = el(
        "li",
        { title: one.name },
        el("span", { class: "limit-name" }, settingName(one.name)),
        bar(0),
        el("span", { class: "limit-used" }),
      );
      this.rows.set(`${one.of}\n${one.name}`, row);
      groups.set(one.of, [...(groups.get(one.of) ?? []), row]);
    }
    const known = new Set(["room", "mention", "pm", "keyword", "contextual"]);
    this.box.replaceChildren(
      ...[...groups].map(([of, rows]) =>
        el(
          "div",
          { class: "limit-group" },
          el("h3", {}, of === "room" ? "This room" : known.has(of) ? `Trigger ${of}` : of),
          el("ul", { class: "limits" }, ...rows),
        ),
      ),
    );
    if (!groups.size) this.box.append(el("p", { class: "empty" }, "No limits here."));
  }

  // Time has passed: pauses drain by themselves.
  move() {
    const passed = ((performance.now() - this.readAt) / 1000) * this.rate;
    for (const one of this.limits ?? []) {
      const row = this.rows.get(`${one.of}\n${one.name}`);
      if (!row) continue;
      const left = one.frees_in_seconds === null ? null : Math.max(0, one.frees_in_seconds - passed);
      const isPause = one.limit === 1;
      const isOver = left === 0 && one.used <= one.limit;
      const used = isOver ? one.used - 1 : one.used;
      const share = isPause && left !== null ? left / one.window_seconds : used / one.limit;
      setBar(row.querySelector(".bar"), share);
      row.classList.toggle("is-full", used >= one.limit);
      row.querySelector(".limit-used").textContent = usage(one, used, left, isPause);
    }
  }
}

function usage(one, used, left, isPause) {
  if (isPause) return !used ? "ready" : left === null ? "taken" : duration(left);
  const full = used >= one.limit && left ? ` · ${duration(left)}` : "";
  return `${used} of ${one.limit}${full}`;
}

const WIDTH = 260;
const HEIGHT = 56;

// Bars, newest at the right. `series` is a list of lists: what is stacked in each bar.
export function drawPlot(box, series, { unit, names, empty, isSplit = false }) {
  if (!series.length) {
    box.replaceChildren(el("p", { class: "empty" }, empty));
    return;
  }
  const sums = series.map((parts) => parts.reduce((sum, part) => sum + part, 0));
  const top = Math.max(...sums) || 1;
  const step = WIDTH / Math.max(30, series.length);
  const bars = [];
  series.forEach((parts, at) => {
    let y = HEIGHT;
    parts.forEach((part, kind) => {
      const height = (part / top) * (HEIGHT - 2);
      y -= height;
      const x = WIDTH - (series.length - at) * step;
      bars.push(svg("rect", { class: `part-${kind}`, x: x + 0.5, y, width: Math.max(1, step - 1.5), height, rx: 1 }));
    });
  });
  const sorted = [...sums].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  const last = isSplit
    ? series.at(-1).map((part, kind) => `${unit(part)} ${names[kind]}`).join(" + ")
    : unit(sums.at(-1));
  const facts = `last ${last}, median ${unit(middle)}, most ${unit(top)}`;
  box.replaceChildren(
    svg(
      "svg",
      { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${plural(series.length, "reply", "replies")}: ${facts}` },
      svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
      ...bars,
    ),
    el(
      "p",
      { class: "plot-facts" },
      facts,
      el("span", { class: "key" }, ...names.map((name, kind) => el("span", { class: `key-${kind}` }, name))),
    ),
  );
}

const TONES = [["answered", "answered"], ["refused", "refused"], ["failed", "failed"], ["quiet", "left alone"]];

export function drawTotals(box, decisions) {
  const most = Math.max(1, ...TONES.map(([tone]) => decisions[tone] ?? 0));
  box.replaceChildren(
    el(
      "ul",
      { class: "totals" },
      ...TONES.map(([tone, name]) =>
        el("li", {}, el("span", {}, name), bar((decisions[tone] ?? 0) / most, tone), el("b", {}, String(decisions[tone] ?? 0))),
      ),
    ),
  );
}

// What stands behind a chip: the sentence, each gate with what it was measured against, the reply.

import { bar, duration, el, icon, number } from "./dom.js";
import { outcomeName, settingName } from "./words.js";

export function details(line) {
  const parts = [el("p", { class: "sentence" }, line.sentence)];
  if (line.gates.length) {
    parts.push(el("ul", { class: "gates" }, ...line.gates.map(gate)));
  }
  if (line.reply) parts.push(reply(line.reply));
  parts.push(
    el(
      "p",
      { class: "code" },
      line.trigger ? `${line.trigger} → ` : "",
      line.outcome ?? outcomeName(null),
      " · id ",
      el("code", {}, line.correlation_id),
    ),
  );
  return parts;
}

function gate(one) {
  const mark = one.passed ? "answered" : "refused";
  return el(
    "li",
    { class: one.passed ? "passed" : "stopped" },
    icon(mark),
    el("span", { class: "gate-name", title: one.name }, settingName(one.name)),
    el("span", { class: "of" }, one.trigger ?? ""),
    share(one) === null ? el("span") : bar(share(one), mark),
    el("span", { class: "measure" }, measure(one)),
  );
}

function share(one) {
  const { value, threshold } = one;
  if (typeof value !== "number" || typeof threshold !== "number") return null;
  if (one.name === "fire_probability") return value;
  return threshold ? value / threshold : 0;
}

function measure(one) {
  const { value, threshold, window_seconds: window, frees_in_seconds: frees } = one;
  const verdict = one.passed ? "passed" : "refused";
  const again = frees === null ? "" : `, frees in ${duration(frees)}`;
  if (one.name === "fire_probability") {
    return `${verdict}: drew ${number(value)}, needs less than ${number(threshold)}`;
  }
  if (typeof value !== "number" || typeof threshold !== "number") return verdict;
  if (one.name.endsWith("cooldown_seconds") && window) {
    return one.passed ? `${verdict}: over` : `${verdict}: ${duration(window)}${again}`;
  }
  const within = window ? ` in ${duration(window)}` : "";
  return `${verdict}: ${number(value)} of ${number(threshold)}${within}${again}`;
}

function reply(one) {
  const facts = [];
  const add = (name, value) => facts.push(el("dt", {}, name), el("dd", {}, value));
  if (one.model) add("Model", one.provider ? `${one.model} (${one.provider})` : one.model);
  if (one.attempts > 1) add("Attempts", String(one.attempts));
  if (one.prompt_tokens || one.completion_tokens) {
    add("Tokens", `${one.prompt_tokens ?? "?"} read, ${one.completion_tokens ?? "?"} written`);
  }
  const times = [
    ["queued", one.queued_seconds],
    ["model", one.model_seconds],
    ["in all", one.total_seconds],
  ].filter(([, seconds]) => typeof seconds === "number");
  if (times.length) {
    add("Time", times.map(([name, seconds]) => `${name} ${duration(seconds)}`).join(", "));
  }
  if (one.filters.length) add("Changed", one.filters.join(", "));
  if (one.delivery) add("Delivery", one.delivery);
  return facts.length ? el("dl", { class: "reply" }, ...facts) : null;
}

// The demo's controls. The server has their routes in the demo only.

import { el } from "./dom.js";

const MODES = { ok: "answers", timeout: "hangs", 500: "fails: 500", 429: "refuses: 429" };

export class Demo {
  constructor(box, onProblem) {
    this.box = box;
    this.onProblem = onProblem;
    this.muted = false;
  }

  show(demo) {
    this.box.hidden = !demo;
    if (!demo) {
      this.box.replaceChildren();
      return;
    }
    this.person = choice("As", "person", demo.people);
    this.text = el("input", {
      id: "demo-text", type: "text", maxlength: 320, autocomplete: "off", required: true,
      placeholder: demo.bot ? `Such as: ${demo.bot}, what's on?` : "Say something", "aria-label": "Line",
    });
    this.private = el("input", { id: "demo-private", type: "checkbox" });
    this.media = choice("Film", "media", demo.media);
    this.speed = choice("Speed", "speed", demo.speeds, (speed) => (speed ? `${speed} ×` : "paused"));
    this.model = choice("Model", "model", demo.modes, (mode) => `${demo.provider ?? ""} ${MODES[mode] ?? mode}`.trim());
    // A real model isn't the demo's to break.
    this.model.hidden = demo.can_break_model === false;
    this.hint = el("p", { class: "hint" });
    this.mute = el("button", { type: "button", "aria-pressed": "false", onclick: () => this.post("mute", { on: !this.muted }) }, "Mute the bot");
    onChange(this.media, (title) => this.post("media", { title }));
    onChange(this.speed, (speed) => this.post("speed", { speed: Number(speed) }));
    onChange(this.model, (mode) => this.post("model", { mode }));
    this.box.replaceChildren(
      el(
        "form",
        { class: "say", onsubmit: (event) => this.say(event) },
        this.person,
        this.text,
        el("label", { class: "check" }, this.private, "privately"),
        el("button", { type: "submit", class: "primary" }, "Say"),
      ),
      el(
        "div",
        { class: "controls" },
        this.media,
        this.model,
        this.speed,
        this.mute,
        el("button", { type: "button", onclick: () => this.post("flood", {}) }, "Flood the room"),
      ),
      this.hint,
    );
  }

  update(state) {
    if (!state || this.box.hidden) return;
    this.muted = Boolean(state.muted);
    this.mute.setAttribute("aria-pressed", String(this.muted));
    this.mute.textContent = this.muted ? "Let the bot speak" : "Mute the bot";
    set(this.speed, state.speed);
    set(this.model, state.model);
    set(this.media, state.media);
    this.hint.textContent = hint(state);
    this.hint.hidden = !this.hint.textContent;
  }

  async say(event) {
    event.preventDefault();
    const text = this.text.value.trim();
    if (!text) return;
    const user = this.person.querySelector("select").value;
    const said = await this.post("say", { user, text, pm: this.private.checked });
    if (said && this.text.value.trim() === text) this.text.value = "";
    this.text.focus();
  }

  async post(action, body) {
    try {
      const answer = await fetch(`/demo/${action}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
      this.onProblem("");
      return true;
    } catch (error) {
      this.onProblem(`That didn't work: ${error.message}`);
      return false;
    }
  }
}

function choice(label, name, values = [], show = String) {
  const options = values.map((value) => el("option", { value }, show(value)));
  return el("label", { class: "field" }, el("span", {}, label), el("select", { id: `demo-${name}` }, ...options));
}

function onChange(field, act) {
  const select = field.querySelector("select");
  select.addEventListener("change", () => act(select.value));
}

function hint(state) {
  if (state.is_over) return "The film night is over. The room stays open.";
  if (state.speed === 0) return "The film stands still. The bot's time goes on.";
  return "";
}

// What somebody is choosing at this moment stays.
function set(field, value) {
  const select = field.querySelector("select");
  if (value !== undefined && value !== null && document.activeElement !== select) select.value = String(value);
}

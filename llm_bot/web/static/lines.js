// The conversation of one room: up to a thousand lines, each with its chip, notes in step with it.

import { duration, el, hue, icon, number } from "./dom.js";
import { details } from "./gates.js";
import { outcomeName, plural } from "./words.js";

const MAX_LINES = 1000;
const SAME_BREATH_SECONDS = 120;
const NEAR_PX = 60;
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
});

export class Conversation {
  // `find(id)` is any line that is known, by its number.
  constructor(list, newer, { find, onCount }) {
    this.list = list;
    this.newer = newer;
    this.find = find;
    this.onCount = onCount;
    this.rows = new Map();
    this.open = new Set();
    this.filter = "all";
    this.last = null;
    this.unseen = 0;
    this.follows = true;
    this.top = 0;
    list.addEventListener("scroll", () => this.noteScroll(), { passive: true });
    newer.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.follows && this.toEnd()).observe(list);
  }

  // Draw a room anew.
  show(entries) {
    this.rows.clear();
    this.last = null;
    this.list.replaceChildren();
    this.add(entries);
    this.toEnd();
  }

  // Append what has happened: lines and insights, oldest first.
  add(entries) {
    const batch = document.createDocumentFragment();
    let added = 0;
    for (const entry of entries) {
      if (entry.insight) {
        if (this.filter === "all") batch.append(note(entry.insight));
        continue;
      }
      if (!this.isShown(entry)) continue;
      batch.append(this.row(entry));
      added += 1;
    }
    this.list.append(batch);
    this.trim();
    if (this.follows) this.toEnd();
    else this.tell(this.unseen + added);
    this.onCount(this.rows.size);
  }

  // A line's decision has changed.
  update(line) {
    const row = this.rows.get(line.id);
    if (!row) {
      if (this.filter !== "all" && this.isShown(line)) this.add([line]);
      return;
    }
    if (!this.isShown(line)) {
      this.rows.delete(line.id);
      row.remove();
      this.onCount(this.rows.size);
      return;
    }
    const old = row.querySelector(".chip");
    const hadFocus = document.activeElement === old;
    const chip = this.chip(line);
    old?.replaceWith(chip);
    if (hadFocus) chip.focus();
    if (this.open.has(line.id)) row.querySelector(".details").replaceChildren(...details(line));
    if (this.follows) this.toEnd();
  }

  isShown(line) {
    if (this.filter === "all") return true;
    if (this.filter === "answered") {
      return line.tone === "answered" || line.tone === "waiting" || line.is_own;
    }
    return line.tone === "refused" || line.tone === "failed";
  }

  row(line) {
    const isTick = line.event === "tick";
    const follows = !isTick && this.last && this.last.user === line.user
      && this.last.event === line.event && line.time - this.last.time < SAME_BREATH_SECONDS;
    this.last = line;
    const kind = isTick ? "tick" : line.is_own ? "own" : "other";
    const row = el(
      "li",
      { class: `line ${kind} hue-${hue(line.user)}${follows ? " follows" : ""}`, id: `line-${line.id}` },
      isTick || follows ? null : this.who(line),
      el(
        "div",
        { class: "said" },
        isTick ? el("span", { class: "tick-text" }, "Looked whether to join in") : bubble(line),
        line.is_own ? this.source(line) : this.chip(line),
      ),
      el("div", { class: "details", id: `details-${line.id}`, hidden: true }),
    );
    this.rows.set(line.id, row);
    if (this.open.has(line.id)) this.unfold(row, line);
    return row;
  }

  who(line) {
    const name = line.user || "somebody";
    return el(
      "p",
      { class: "who" },
      el("span", { class: "face", "aria-hidden": "true" }, [...name][0].toUpperCase()),
      el("b", {}, name),
      line.is_own ? el("span", { class: "tag" }, "bot") : null,
      line.event === "pm"
        ? el("span", { class: "tag private" }, line.to && line.is_own ? `privately to ${line.to}` : "private")
        : null,
      el("time", { datetime: new Date(line.time * 1000).toISOString() }, clock.format(line.time * 1000)),
    );
  }

  chip(line) {
    return el(
      "button",
      {
        type: "button",
        class: `chip ${line.tone}`,
        "aria-expanded": String(this.open.has(line.id)),
        "aria-controls": `details-${line.id}`,
        title: line.sentence,
        onclick: () => this.toggle(line.id),
      },
      icon(line.tone),
      outcomeName(line.outcome),
      line.tone === "answered" && typeof line.reply?.total_seconds === "number"
        ? el("small", {}, duration(line.reply.total_seconds))
        : null,
    );
  }

  // Which line a reply answers: a way back to it.
  source(line) {
    const asked = this.find(line.answers);
    if (!asked) return null;
    return el(
      "button",
      { type: "button", class: "source", onclick: () => this.jump(asked.id) },
      asked.user ? `to ${asked.user}` : "unasked",
    );
  }

  toggle(id) {
    const row = this.rows.get(id);
    const line = this.find(id);
    if (!row || !line) return;
    if (this.open.delete(id)) row.querySelector(".details").hidden = true;
    else {
      this.open.add(id);
      this.unfold(row, line);
    }
    row.querySelector(".chip").setAttribute("aria-expanded", String(this.open.has(id)));
    if (this.open.has(id)) row.scrollIntoView({ block: "nearest" });
  }

  unfold(row, line) {
    const box = row.querySelector(".details");
    box.replaceChildren(...details(line));
    box.hidden = false;
  }

  jump(id) {
    const row = this.rows.get(id);
    if (!row) return;
    row.scrollIntoView({ block: "center" });
    row.querySelector(".chip")?.focus({ preventScroll: true });
  }

  trim() {
    while (this.rows.size > MAX_LINES) {
      const [id, row] = this.rows.entries().next().value;
      this.rows.delete(id);
      this.open.delete(id);
      while (this.list.firstElementChild !== row) this.list.firstElementChild.remove(); // notes
      row.remove();
    }
    this.nameFirst();
  }

  // The line that had the name above it has gone.
  nameFirst() {
    const first = this.rows.entries().next().value;
    if (!first?.[1].classList.contains("follows")) return;
    const line = this.find(first[0]);
    if (line) first[1].prepend(this.who(line));
    first[1].classList.remove("follows");
  }

  noteScroll() {
    const { scrollTop, clientHeight, scrollHeight } = this.list;
    const isUp = scrollTop < this.top;
    // A line has its true height only once it is drawn: the end may move while nobody scrolls.
    if (scrollHeight - scrollTop - clientHeight < NEAR_PX || (this.follows && !isUp)) this.toEnd();
    else this.follows = false;
    this.top = scrollTop;
  }

  toEnd() {
    this.follows = true;
    this.list.scrollTop = this.list.scrollHeight;
    this.tell(0);
  }

  tell(unseen) {
    this.unseen = unseen;
    this.newer.hidden = !unseen;
    this.newer.textContent = unseen ? `${plural(unseen, "new line")} ↓` : "";
  }
}

function bubble(line) {
  if (line.text === undefined) {
    return el("p", { class: "bubble hidden-text" }, plural(line.length, "character"));
  }
  return el("p", { class: "bubble" }, line.text);
}

// Something that was observed about the room, between the lines where it was.
const INSIGHTS = {
  "reply.relevance.measured": "relevance of the reply",
  "topic.change.noticed": "another topic",
  "question.answer.missing": "a question nobody answered",
};

function note(insight) {
  return el(
    "li",
    { class: "note" },
    el("b", {}, INSIGHTS[insight.kind] ?? String(insight.kind ?? "insight")),
    " ",
    String(insight.text ?? ""),
    typeof insight.value === "number" ? el("small", {}, ` ${number(insight.value)}`) : null,
  );
}

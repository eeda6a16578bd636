// The live page: keeps what the server tells, and has each part drawn once a frame at most.

import { Demo } from "./demo.js";
import { duration, number } from "./dom.js";
import { Conversation } from "./lines.js";
import { Limits, drawPlot, drawRooms, drawServices, drawTotals } from "./panels.js";
import { listen } from "./stream.js";
import { plural } from "./words.js";

const KEPT = 1000;
const PLOTTED = 60;
const $ = (id) => document.getElementById(id);

// --- what is known ---

const known = {
  rooms: new Map(), // name -> { entries, byId, replies }
  state: null,
  stateAt: 0,
  hello: null,
  chosen: sessionStorage.getItem("room"),
  unread: new Map(),
};
let fresh = []; // entries of the chosen room to be drawn
let changed = new Set(); // lines of it whose decision came
let isAnew = true; // the whole conversation is to be drawn

function room(name) {
  if (!known.rooms.has(name)) known.rooms.set(name, { entries: [], byId: new Map(), replies: new Map() });
  return known.rooms.get(name);
}

function keep(name, entry) {
  const { entries, byId, replies } = room(name);
  entries.push(entry);
  if (entry.id) byId.set(entry.id, entry);
  noteReply(replies, entry);
  if (entries.length > KEPT) byId.delete(entries.shift().id);
  if (name === known.chosen) fresh.push(entry);
  else if (known.hello.resumed || entry.id > known.hello.newest) known.unread.set(name, (known.unread.get(name) ?? 0) + 1);
}

function noteReply(replies, line) {
  if (typeof line.reply?.total_seconds !== "number" || line.tone !== "answered") return;
  replies.set(line.id, line.reply);
  if (replies.size > PLOTTED) replies.delete(replies.keys().next().value);
}

// The room may show an answer before the connector says that it took it, which ends its time.
function timeAnswer(own) {
  const { byId, replies } = room(own.channel);
  const asked = byId.get(own.answers);
  if (!asked?.reply || typeof asked.reply.total_seconds === "number") return;
  asked.reply.total_seconds = own.time - asked.time;
  noteReply(replies, asked);
  if (own.channel === known.chosen) changed.add(asked);
}

// --- what the server tells ---

const handlers = {
  hello(data) {
    known.hello = data;
    document.title = data.rooms.length === 1 ? `${data.rooms[0]} · llm_bot` : "llm_bot";
    $("version").textContent = data.version;
    $("logout").hidden = !data.has_session;
    demo.show(data.demo);
    if (!data.resumed) {
      known.rooms.clear();
      known.unread.clear();
      fresh = [];
      isAnew = true;
    }
    if (data.lost) tell(`${plural(data.lost, "entry", "entries")} could not be kept while this page was away.`);
    if (!data.rooms.includes(known.chosen)) choose(data.rooms[0] ?? null);
  },
  line(data) {
    data.time = Date.parse(data.time) / 1000;
    keep(data.channel, data);
    if (data.answers) timeAnswer(data);
  },
  decision(data) {
    const { byId, replies } = room(data.channel);
    const line = byId.get(data.id);
    if (!line) return;
    Object.assign(line, data, { time: line.time });
    noteReply(replies, line);
    if (data.channel === known.chosen) changed.add(line);
  },
  insight(data) {
    keep(data.channel, { insight: data });
  },
  state(data) {
    known.state = data;
    known.stateAt = performance.now();
    demo.update(data.demo);
  },
};

// --- drawing ---

let isDue = false;

function draw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    drawConversation();
    drawState();
  });
}

function drawConversation() {
  if (isAnew) conversation.show(known.chosen ? room(known.chosen).entries : []);
  else {
    if (fresh.length) conversation.add(fresh);
    for (const line of changed) conversation.update(line);
  }
  if (isAnew || fresh.length || changed.size) drawPlots();
  isAnew = false;
  fresh = [];
  changed.clear();
}

function drawState() {
  const { state } = known;
  if (!state) return;
  drawServices($("services"), state);
  drawRooms($("rooms"), state.rooms, known.chosen, known.unread, choose);
  const here = state.rooms.find((one) => one.name === known.chosen);
  $("room-name").textContent = here?.name ?? "No rooms";
  $("room-facts").textContent = here ? placeFacts(here) : "";
  limits.show(here?.limits ?? [], known.stateAt, rateOf(state));
  drawTotals($("totals"), here?.decisions ?? {});
}

function placeFacts(here) {
  const facts = [];
  if (here.media) facts.push(`▸ ${here.media}`);
  if (here.people !== null) facts.push(`${plural(here.people, "person", "people")} here`);
  facts.push(`the bot is ${here.bot}`);
  if (here.state !== "active") facts.push(here.state);
  return facts.join(" · ");
}

function drawPlots() {
  const replies = known.chosen ? [...room(known.chosen).replies.values()] : [];
  drawPlot(
    $("latency"),
    replies.map((one) => [one.model_seconds ?? 0, Math.max(0, one.total_seconds - (one.model_seconds ?? 0))]),
    { unit: duration, names: ["model", "rest"], empty: "No reply yet." },
  );
  drawPlot(
    $("tokens"),
    replies
      .filter((one) => one.prompt_tokens || one.completion_tokens)
      .map((one) => [one.completion_tokens ?? 0, one.prompt_tokens ?? 0]),
    { unit: number, names: ["written", "read"], isSplit: true, empty: "None counted yet." },
  );
}

// How fast time passes for the bot: in the demo not as it does here.
function rateOf(state) {
  return state.demo?.rate ?? 1;
}

function passTime() {
  if (!known.state) return;
  limits.move();
  const passed = (performance.now() - known.stateAt) / 1000;
  const uptime = known.state.uptime_seconds + passed * rateOf(known.state);
  $("uptime").textContent = `up ${duration(uptime)}`;
}

// --- what the reader does ---

function choose(name) {
  known.chosen = name;
  if (name) sessionStorage.setItem("room", name);
  known.unread.delete(name);
  isAnew = true;
  draw();
}

function press(group, attribute, value) {
  for (const button of group.querySelectorAll(`[${attribute}]`)) {
    button.setAttribute("aria-pressed", String(button.getAttribute(attribute) === value));
  }
}

$("filters").addEventListener("click", (event) => {
  const { filter } = event.target.dataset;
  if (!filter) return;
  press($("filters"), "data-filter", filter);
  conversation.filter = filter;
  isAnew = true;
  draw();
});

document.querySelector(".views").addEventListener("click", (event) => {
  const { show } = event.target.dataset;
  if (!show) return;
  press(document.querySelector(".views"), "data-show", show);
  document.body.dataset.view = show;
});

const THEMES = ["system", "light", "dark"];

function showTheme() {
  const theme = localStorage.getItem("theme") ?? "system";
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
}

$("theme").addEventListener("click", () => {
  const theme = localStorage.getItem("theme") ?? "system";
  localStorage.setItem("theme", THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
  showTheme();
});

function tell(text) {
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

function showEmpty(count) {
  const texts = {
    all: "Nobody has said anything yet.",
    answered: "Nothing answered so far.",
    refused: "Nothing refused so far.",
  };
  $("empty").hidden = count > 0;
  $("empty").textContent = known.hello ? texts[conversation.filter] : "Connecting…";
}

const demo = new Demo($("demo"), tell);
const limits = new Limits($("limits"));
const conversation = new Conversation($("lines"), $("newer"), {
  find: (id) => (known.chosen ? room(known.chosen).byId.get(id) : undefined),
  onCount: showEmpty,
});

showTheme();
setInterval(passTime, 250);
listen(
  (name, data) => {
    handlers[name](data);
    draw();
  },
  (how) => tell(how === "open" ? "" : "The connection is lost. Trying again…"),
);

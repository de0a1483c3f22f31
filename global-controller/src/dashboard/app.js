// The dashboard. Names, images and messages are data of strangers: they reach the page by textContent and
// setAttribute only. What is shown is what the controller sent last, and how long ago that was.
"use strict";

// A member is silent after this long (the controller's own rule).
const SILENT_AFTER_MILLIS = 15_000;
// The controller sends something each second; three missed are no accident.
const LOST_AFTER_MILLIS = 4_000;
// A connection that is open and mute for this long is given up for a new one.
const REOPEN_AFTER_MILLIS = 12_000;
// The browser gives up for good when it is refused; then we ask again.
const RETRY_MILLIS = 2_000;
// Rows and cards beyond these would make the page slow and help nobody.
const MAX_ROWS = 500;
const MAX_CARDS = 50;
// Objects of a payload that its card names.
const MAX_OBJECTS = 10;
// Changes that arrive together are drawn together.
const DRAW_DELAY_MILLIS = 50;

const byId = (id) => document.getElementById(id);
const collator = new Intl.Collator("en", { numeric: true });

const OUTCOMES = {
  Accepted: { tone: "busy", sign: "◔", text: "told, no answer yet" },
  Observed: { tone: "calm", sign: "○", text: "not updated yet" },
  Progressing: { tone: "busy", sign: "◐", text: "updating" },
  PodDeletionByOwner: { tone: "busy", sign: "◔", text: "waits for its owner to delete old pods" },
  Healthy: { tone: "good", sign: "●", text: "healthy" },
  PreviousChanged: { tone: "bad", sign: "▲", text: "changed by someone else" },
  WorkloadMissing: { tone: "bad", sign: "▲", text: "workload missing" },
  Refused: { tone: "bad", sign: "▲", text: "refused by its API server" },
  Reverted: { tone: "bad", sign: "▲", text: "went back by itself" },
  Drifted: { tone: "bad", sign: "▲", text: "changed by someone else" },
  Contended: { tone: "bad", sign: "▲", text: "someone else insists on other images" },
  Withdrawn: { tone: "calm", sign: "○", text: "released" },
};
// Healthy, although a StatefulSet's partition keeps pods of an older template.
const PARTIAL = { tone: "good", sign: "◕", text: "healthy, partial" };
// From the worst: a member with several workloads shows the first of these that one of them has.
const SEVERITY = ["bad", "busy", "calm", "good"];

const PHASES = {
  Pending: { tone: "calm", sign: "○" },
  Progressing: { tone: "busy", sign: "◐" },
  Verifying: { tone: "busy", sign: "◔" },
  Paused: { tone: "busy", sign: "❚❚" },
  Holding: { tone: "bad", sign: "▲" },
  RollingBack: { tone: "bad", sign: "↩" },
  RolledBack: { tone: "bad", sign: "↩" },
  Succeeded: { tone: "good", sign: "✓" },
  Failed: { tone: "bad", sign: "✕" },
};
const FINISHED = new Set(["Succeeded", "RolledBack", "Failed"]);

// One for each reason of the controller's core, in its order (waiting.rs).
const REASONS = {
  Withdrawal: "Waiting for members to forget it",
  Invalid: "The specification is invalid",
  NoPayload: "Nothing to roll out yet",
  TargetMissing: "A target does not exist",
  EmptyPlan: "No member is selected",
  Quarantined: "This payload was rolled back",
  RollbackIncomplete: "Members did not go back",
  Rollback: "Members go back to what they ran before",
  RollbackFirst: "The rollback comes first",
  Return: "A failed member goes back",
  ReturnFirst: "Members go back from an earlier run first",
  Paused: "Paused by a person",
  HubSilent: "The hub is silent",
  DeadlinePassed: "A member is past its deadline",
  WorkloadMissing: "A member lacks the workload",
  Refused: "A member's API server refuses the change",
  MemberFailed: "A member has failed",
  MemberUnhealthy: "A member is no longer healthy",
  MemberUnreachable: "Waiting for a silent member",
  Cordoned: "Members are cordoned",
  AgentTooOld: "Agents are too old",
  StrictTolerance: "A silent member may have failed",
  Finishing: "Too many failed; finishing what has begun",
  TooManyFailed: "Too many members failed",
  CatchUpHeld: "Too many failed for others to catch up",
  Owed: "Silent members still get the revision",
  Heartbeat: "Waiting to hear from members",
  Observation: "Waiting for members to say what they run",
  PodDeletionByOwner: "Waiting for owners to delete old pods",
  MemberHealth: "Waiting for members to become healthy",
  Pause: "Pause between steps",
  Soak: "Soak after the last step",
  GateUnconfigured: "No metric source is configured",
  Decision: "The controller decides next",
};

const state = {
  clusters: new Map(), // name -> { data, receivedAt, search }
  rollouts: new Map(), // name -> { data, receivedAt }
  names: null, // sorted member names; null when members came or went
  leader: null,
  fleet: "Fleet",
  connection: "connecting",
  lastEventAt: null,
  openedAt: Date.now(),
  synced: false,
  serverOffset: 0, // the controller's clock minus ours, milliseconds
};

// ---- Receiving

let source = null;
let retryTimer = null;

function open() {
  clearTimeout(retryTimer);
  if (source) source.close();
  state.openedAt = Date.now();
  state.synced = false;
  const current = new EventSource("api/v1/events");
  source = current;
  const on = (name, apply) => current.addEventListener(name, (event) => receive(current, event, apply));
  on("snapshot", applySnapshot);
  on("cluster", (cluster) => putCluster(cluster, Date.now()));
  on("cluster-removed", ({ name }) => {
    state.clusters.delete(name);
    state.names = null;
  });
  on("rollout", (rollout) => state.rollouts.set(rollout.name, { data: rollout, receivedAt: Date.now() }));
  on("rollout-removed", ({ name }) => state.rollouts.delete(name));
  on("leader", (leader) => (state.leader = leader));
  on("time", applyTime);
  current.onerror = () => {
    if (current !== source) return;
    // Until its next snapshot nothing of a new connection counts: it may lack what we missed.
    state.synced = false;
    lose();
    if (current.readyState === EventSource.CLOSED) retryLater();
  };
}

function retryLater() {
  clearTimeout(retryTimer);
  retryTimer = setTimeout(open, RETRY_MILLIS);
}

function receive(from, event, apply) {
  if (from !== source) return;
  if (event.type === "snapshot") state.synced = true;
  if (!state.synced) return;
  try {
    apply(JSON.parse(event.data));
  } catch (error) {
    // What can't be read must not pass for news: the picture is started over.
    console.error("failed to read an event", event.type, error);
    state.synced = false;
    lose();
    source.close();
    retryLater();
    return;
  }
  state.lastEventAt = Date.now();
  setConnection("live");
  drawSoon();
}

function applySnapshot(snapshot) {
  const now = Date.now();
  setServerTime(snapshot.now);
  state.leader = snapshot.leader;
  if (snapshot.fleet) state.fleet = snapshot.fleet;
  state.clusters.clear();
  for (const cluster of snapshot.clusters ?? []) putCluster(cluster, now);
  state.rollouts.clear();
  for (const rollout of snapshot.rollouts ?? []) state.rollouts.set(rollout.name, { data: rollout, receivedAt: now });
}

function applyTime(time) {
  setServerTime(time.now);
  if (time.leader !== undefined) state.leader = time.leader;
  const now = Date.now();
  for (const [name, age] of Object.entries(time.heartbeatAgeMillis ?? {})) {
    const entry = state.clusters.get(name);
    if (entry) entry.heartbeatAt = now - age;
  }
}

function setServerTime(serverNow) {
  if (Number.isFinite(serverNow)) state.serverOffset = serverNow - Date.now();
}

function putCluster(cluster, now) {
  if (!state.clusters.has(cluster.name)) state.names = null;
  const age = cluster.lastHeartbeatAgeMillis;
  state.clusters.set(cluster.name, {
    data: cluster,
    receivedAt: now,
    heartbeatAt: Number.isFinite(age) ? now - age : null,
    search: searchText(cluster),
  });
}

function searchText(cluster) {
  const words = [cluster.name];
  for (const [key, value] of Object.entries(cluster.labels ?? {})) words.push(`${key}=${value}`);
  for (const workload of cluster.workloads ?? []) {
    words.push(workload.rollout, workloadName(workload), workload.outcome, workload.message);
    words.push(outcomeOf(workload).text, ...Object.values(workload.images ?? {}));
  }
  return words.filter(Boolean).join("\n").toLowerCase();
}

// What was never there can't be lost.
function lose() {
  setConnection(state.lastEventAt === null ? "connecting" : "lost");
}

function setConnection(connection) {
  if (state.connection === connection) return;
  state.connection = connection;
  drawSoon();
}

// ---- Judging

function isLost() {
  return state.connection === "lost";
}

// Text and tone of a member as a whole, and whether it is stale.
function judge(entry, now) {
  const age = entry.heartbeatAt === null ? null : Math.max(0, now - entry.heartbeatAt);
  // Without a connection we are the deaf one: nobody turns silent by that.
  const deafMillis = isLost() ? now - state.lastEventAt : 0;
  const silent = entry.data.reachable === false || (age !== null && age - deafMillis > SILENT_AFTER_MILLIS);
  const unheard = !silent && age === null;
  const worst = worstOutcome(entry.data.workloads ?? []);
  return { age, silent, unheard, worst, attention: silent || worst.tone === "bad" };
}

function worstOutcome(workloads) {
  const found = workloads.map(outcomeOf);
  found.sort((left, right) => SEVERITY.indexOf(left.tone) - SEVERITY.indexOf(right.tone));
  return found[0] ?? { tone: "calm", sign: "○", text: "no rollout yet" };
}

function outcomeOf({ outcome, partial }) {
  if (outcome === "Healthy" && partial) return PARTIAL;
  if (!outcome) return { tone: "calm", sign: "○", text: "not told yet" };
  return OUTCOMES[outcome] ?? { tone: "calm", sign: "○", text: outcome };
}

function heartbeatText(verdict) {
  const { age, silent } = verdict;
  if (age === null) return silent ? "silent, never heard" : "not heard yet";
  if (isLost()) return `no news for ${duration(age)}`;
  return silent ? `silent for ${duration(age)}` : `${duration(age)} ago`;
}

// ---- Words

function duration(millis) {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return seconds % 60 && minutes < 10 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

function clock(millis) {
  const seconds = Math.max(0, Math.ceil(millis / 1000));
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const rest = `${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

function timeOfDay(millis) {
  return new Date(millis).toLocaleTimeString("en-GB");
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

// "MemberHealth" -> "Member health", for reasons that this page does not know.
function spaced(word) {
  const text = word.replace(/([a-z0-9])([A-Z])/g, (_, left, right) => `${left} ${right.toLowerCase()}`);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function workloadName(workload) {
  if (workload.objects !== undefined) return `${workload.readyObjects} of ${plural(workload.objects, "object")} ready`;
  return `${workload.kind} ${workload.namespace}/${workload.name}`;
}

function objectCount(payload) {
  return payload?.objects ? plural(payload.objects.length, "object") : "";
}

function imageList(images) {
  const entries = Object.entries(images ?? {});
  return entries.map(([container, image]) => (entries.length === 1 ? image : `${container}: ${image}`));
}

// ---- Drawing

let drawTimer = null;

function drawSoon() {
  drawTimer ??= setTimeout(draw, DRAW_DELAY_MILLIS);
}

function draw() {
  clearTimeout(drawTimer);
  drawTimer = null;
  const now = Date.now();
  const judged = judgeAll(now);
  drawHeader(now, judged);
  drawRollouts(now);
  drawMembers(judged);
}

function judgeAll(now) {
  state.names ??= [...state.clusters.keys()].sort(collator.compare);
  return state.names.map((name) => {
    const entry = state.clusters.get(name);
    return { name, entry, verdict: judge(entry, now) };
  });
}

function drawHeader(now, judged) {
  const silent = judged.filter(({ verdict }) => verdict.silent).length;
  const unheard = judged.filter(({ verdict }) => verdict.unheard).length;
  const since = state.lastEventAt;
  document.body.dataset.connection = state.connection;
  setText(byId("fleet"), state.fleet);
  setText(byId("leader"), leaderText());
  setText(byId("members-summary"), since === null ? "unknown" : membersText(judged.length, silent, unheard));
  setText(byId("connection"), { connecting: "Connecting", live: "Live", lost: "Connection lost" }[state.connection]);
  setText(byId("connection-age"), since === null ? "" : `data ${duration(now - since)} old`);
  const banner = byId("stale-banner");
  if (isLost()) {
    setText(byId("stale-since"), `Everything below is stale since ${timeOfDay(since)}.`);
    setText(byId("stale-age"), `That was ${duration(now - since)} ago; trying again by itself.`);
  }
  if (banner.hidden !== !isLost()) banner.hidden = !isLost();
  document.title = (isLost() ? "Stale · " : silent > 0 ? `${silent} silent · ` : "") + state.fleet;
}

function leaderText() {
  if (state.lastEventAt === null) return "unknown";
  const { id, term } = state.leader ?? {};
  return id ? `${id}, term ${term}` : "none: no decision is being taken";
}

function membersText(total, silent, unheard) {
  const parts = [`${total}`];
  if (silent > 0) parts.push(`${silent} silent`);
  if (unheard > 0) parts.push(`${unheard} not heard yet`);
  if (total > 0 && silent + unheard === 0) parts.push("all heard");
  return parts.join(", ");
}

// ---- Rollouts

const cards = new Map(); // name -> parts of its card

function drawRollouts(now) {
  const all = [...state.rollouts.values()].sort(rolloutOrder);
  const shown = all.slice(0, MAX_CARDS);
  const keep = new Set(shown.map(({ data }) => data.name));
  for (const [name, card] of cards) if (!keep.has(name)) forget(cards, name, card.root);
  placeInOrder(byId("rollouts"), shown.map((entry) => drawCard(entry, now)));
  const more = all.length - shown.length;
  const nothing = state.lastEventAt === null ? "Waiting for the controller." : "No rollout yet. Apply a ClusterScopeRollout and it appears here.";
  setNote(byId("rollouts-note"), all.length === 0 ? nothing : more > 0 ? `and ${more} more: kubectl get csro` : "");
}

// Running ones first, then the latest.
function rolloutOrder({ data: left }, { data: right }) {
  const finished = Number(FINISHED.has(left.phase)) - Number(FINISHED.has(right.phase));
  if (finished !== 0) return finished;
  const latest = (Date.parse(right.startedAt) || 0) - (Date.parse(left.startedAt) || 0);
  return latest || collator.compare(left.name, right.name);
}

function drawCard(entry, now) {
  const { data } = entry;
  let card = cards.get(data.name);
  if (!card) cards.set(data.name, (card = newCard(data.name)));
  if (card.entry !== entry) {
    card.entry = entry;
    fillCard(card, data);
  }
  fillCountdown(card, data, now);
  setText(card.times, timesText(data, now + state.serverOffset));
  setText(card.age, isLost() ? `stale since ${timeOfDay(state.lastEventAt)}` : `unchanged for ${duration(now - entry.receivedAt)}`);
  return card.root;
}

function newCard(name) {
  const root = element("article", "card");
  const heading = element("h3", "", name);
  const phase = element("span", "phase");
  const payload = element("div", "payload");
  const bar = element("div", "bar");
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-valuemin", "0");
  const segments = ["healthy", "in-flux", "not-started"].map((part) => element("span", part));
  bar.append(...segments);
  const counts = element("ul", "counts");
  const steps = element("ol", "steps");
  steps.setAttribute("aria-label", "Steps");
  const waiting = element("div", "waiting");
  const parts = { title: element("p", "waiting-title"), message: element("p", "waiting-message"), left: element("span"), until: element("small") };
  const countdown = element("p", "countdown");
  countdown.append(parts.left, parts.until);
  waiting.append(parts.title, parts.message, countdown);
  const gate = element("p", "muted");
  const times = element("span");
  const age = element("span");
  const history = element("details", "history");
  const runs = element("ol", "runs");
  history.append(element("summary", "", "History"), runs);
  history.addEventListener("toggle", () => history.open && loadHistory(name, runs));
  root.append(group("div", "card-head", heading, phase), payload, bar, counts, steps, waiting, gate, history, group("p", "card-foot", times, age));
  root.dataset.rollout = name;
  return { history, runs, root, phase, payload, bar, segments, counts, steps, waiting, countdown, ...parts, gate, times, age };
}

// Asked only of an open one: payloads and reasons of all rollouts are too much for each update.
async function loadHistory(name, list) {
  try {
    const answer = await fetch(`/api/v1/rollouts/${encodeURIComponent(name)}/history`);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const { runs, payloads } = await answer.json();
    const items = runs.reverse().map((run) => {
      const images = imageList(payloads[run.revision]?.images ?? {}).join(", ") || objectCount(payloads[run.revision]) || run.revision;
      const ended = run.finishedAt ? ` ${run.finishedAt}` : "";
      return element("li", "", `${run.run} · ${images} · ${run.outcome ? spaced(run.outcome) : "under way"}${ended}${run.reason ? `: ${run.reason}` : ""}`);
    });
    list.replaceChildren(...items);
  } catch (error) {
    list.replaceChildren(element("li", "muted", `not known: ${error.message}`));
  }
}

function fillCard(card, data) {
  const ran = `${data.run} ${data.phase}`;
  if (card.history.open && card.history.dataset.shown !== ran) loadHistory(data.name, card.runs);
  card.history.dataset.shown = ran;
  const counts = data.counts ?? {};
  const phase = PHASES[data.phase] ?? { tone: "calm", sign: "○" };
  setData(card.root, { phase: data.phase ?? "", healthy: counts.healthy ?? 0, total: counts.total ?? 0, step: data.step ?? 0 });
  card.phase.className = `phase tone-${phase.tone}`;
  setText(card.phase, `${phase.sign} ${data.phase ? spaced(data.phase) : "New"}${data.paused && data.phase !== "Paused" ? ", paused" : ""}`);
  card.payload.replaceChildren(...payloadLines(data));
  fillBar(card, counts);
  fillSteps(card.steps, data);
  const waiting = data.waitingOn;
  card.waiting.hidden = !waiting;
  setText(card.title, waiting ? (REASONS[waiting.reason] ?? spaced(waiting.reason)) : "");
  setText(card.message, waiting?.message ?? "");
  card.gate.hidden = !data.gate;
  setText(card.gate, data.gate ? `Gate: ${data.gate.message || spaced(data.gate.mode)}` : "");
}

function payloadLines(data) {
  const revision = data.revision ? `, revision ${data.revision.slice(0, 12)}` : "";
  if (data.objects?.length) {
    const lines = [element("p", "muted", plural(data.objects.length, "object") + revision)];
    for (const object of data.objects.slice(0, MAX_OBJECTS)) lines.push(element("p", "image", object));
    const more = data.objects.length - MAX_OBJECTS;
    if (more > 0) lines.push(element("p", "muted", `and ${more} more`));
    return lines;
  }
  if (!data.workload) return [element("p", "muted", "no workload named yet")];
  const lines = [element("p", "muted", workloadName(data.workload) + revision)];
  for (const image of imageList(data.workload.images)) lines.push(element("p", "image", image));
  return lines;
}

function fillBar(card, counts) {
  const { total = 0, assigned = 0, healthy = 0, inFlux = 0, notStarted = 0, unreachable = 0 } = counts;
  const { returning = 0, returned = 0, failed = 0, owed = 0, skipped = 0, partial = 0 } = counts;
  [healthy, inFlux + returning, notStarted + returned + owed].forEach((count, index) => (card.segments[index].style.flexGrow = String(count)));
  card.bar.setAttribute("aria-valuenow", String(healthy));
  card.bar.setAttribute("aria-valuemax", String(Math.max(total, 1)));
  card.bar.setAttribute("aria-valuetext", `${healthy} of ${plural(total, "member")} healthy, ${inFlux} updating`);
  const items = [count(`${healthy} of ${total}`, "healthy"), count(assigned, "assigned")];
  if (partial > 0) items.push(count(partial, "of them partial"));
  if (inFlux > 0) items.push(count(inFlux, "updating", "tone-busy"));
  if (owed > 0) items.push(count(owed, "owed", "tone-bad"));
  if (notStarted > 0) items.push(count(notStarted, "to come"));
  if (failed > 0) items.push(count(failed, "failed", "tone-bad"));
  if (returning > 0) items.push(count(returning, "going back", "tone-busy"));
  if (returned > 0) items.push(count(returned, "back"));
  if (skipped > 0) items.push(count(skipped, "left out"));
  if (unreachable > 0) items.push(count(unreachable, "silent", "tone-bad"));
  card.counts.replaceChildren(...items);
}

function count(number, word, className = "") {
  return group("li", className, element("b", "", String(number)), ` ${word}`);
}

// `steps` is their number, or a list of weights or of objects with setWeight.
function fillSteps(list, data) {
  const given = Array.isArray(data.steps) ? data.steps : Array.from({ length: Math.min(data.steps ?? 0, 64) }, () => null);
  const finished = data.phase === "Succeeded";
  const items = given.map((step, index) => {
    const number = index + 1;
    const place = finished || number < data.step ? "done" : number === data.step ? "current" : "next";
    const own = typeof step === "number" ? step : step?.setWeight;
    const last = index === given.length - 1 ? 100 : null;
    const weight = own ?? (place === "current" ? data.weight : last);
    const item = element("li", "", `${place === "done" ? "✓ " : ""}${number}${weight ? ` · ${weight} %` : ""}`);
    item.dataset.state = place;
    if (place === "current") item.setAttribute("aria-current", "step");
    if (place === "done") item.append(element("span", "hidden", "done"));
    return item;
  });
  list.hidden = items.length === 0;
  list.replaceChildren(...items);
}

function fillCountdown(card, data, now) {
  const until = Date.parse(data.waitingOn?.until ?? "");
  card.countdown.hidden = Number.isNaN(until);
  if (Number.isNaN(until)) return;
  const left = until - state.serverOffset - now;
  setText(card.left, left > 0 ? clock(left) : "due");
  setText(card.until, left > 0 ? `until ${timeOfDay(until - state.serverOffset)}` : `for ${duration(-left)}`);
}

function timesText(data, serverNow) {
  const started = Date.parse(data.startedAt ?? "");
  const finished = Date.parse(data.finishedAt ?? "");
  if (Number.isNaN(started)) return "not started";
  if (Number.isNaN(finished)) return `started ${duration(serverNow - started)} ago`;
  return `took ${duration(finished - started)}, ended ${duration(serverNow - finished)} ago`;
}

// ---- Members

const rows = new Map(); // name -> parts of its row

function drawMembers(judged) {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const attentionOnly = byId("attention-only").checked;
  const matching = judged.filter((member) => (!attentionOnly || member.verdict.attention) && matches(member, words));
  const ordered = matching.filter(({ verdict }) => verdict.attention).concat(matching.filter(({ verdict }) => !verdict.attention));
  const shown = ordered.slice(0, MAX_ROWS);
  const keep = new Set(shown.map(({ name }) => name));
  for (const [name, row] of rows) if (!keep.has(name)) forget(rows, name, row.root);
  placeInOrder(byId("members"), shown.map(drawRow));
  setNote(byId("members-note"), membersNote(judged.length, matching.length, shown.length));
}

function matches({ entry, verdict }, words) {
  const own = verdict.silent ? "silent" : verdict.unheard ? "not heard yet" : verdict.worst.text;
  return words.every((word) => entry.search.includes(word) || own.includes(word));
}

function membersNote(total, matching, shown) {
  if (state.lastEventAt === null) return "Waiting for the controller.";
  if (total === 0) return "No member yet. Create a MemberCluster on the hub and start its agent.";
  if (matching > shown) return `and ${matching - shown} more: narrow them down with the filter`;
  return matching < total ? `${matching} of ${plural(total, "member")}` : "";
}

function drawRow({ name, entry, verdict }) {
  let row = rows.get(name);
  if (!row) rows.set(name, (row = newRow(name)));
  if (row.entry !== entry) {
    row.entry = entry;
    fillRow(row, entry.data);
  }
  const stale = verdict.silent || verdict.unheard || isLost();
  setData(row.root, { stale });
  const { tone, sign, text } = verdict.worst;
  const toneClass = `state tone-${stale ? "calm" : tone}`;
  if (row.state.className !== toneClass) row.state.className = toneClass;
  setText(row.state, stale ? `◌ ${verdict.silent ? "silent" : "unknown"}` : `${sign} ${text}`);
  setText(row.last, stale ? `last known: ${text}` : "");
  setText(row.heartbeat, heartbeatText(verdict));
  return row.root;
}

function newRow(name) {
  const root = element("tr");
  const header = element("th");
  header.scope = "row";
  const labels = element("div", "labels");
  header.append(element("div", "name", name), labels);
  const stateText = element("div", "state");
  const last = element("div", "message");
  const messages = element("div");
  const heartbeat = element("td", "heartbeat");
  const workloads = element("td");
  const nodes = element("td", "number");
  const versions = element("td", "versions wide");
  root.append(header, group("td", "", stateText, last, messages), heartbeat, workloads, nodes, versions);
  root.dataset.member = name;
  return { root, labels, state: stateText, last, messages, heartbeat, workloads, nodes, versions };
}

function fillRow(row, data) {
  const workloads = data.workloads ?? [];
  const unique = (values) => [...new Set(values.filter(Boolean))].join(",");
  setData(row.root, {
    image: unique(workloads.flatMap((workload) => Object.values(workload.images ?? {}))),
    outcome: unique(workloads.map((workload) => workload.outcome)),
  });
  const labels = Object.entries(data.labels ?? {}).filter(([key]) => !key.startsWith("rollout.example.com/"));
  setText(row.labels, labels.map(([key, value]) => `${key}=${value}`).join("  "));
  row.messages.replaceChildren(...workloads.filter((workload) => workload.message).map((workload) => messageLine(workload, workloads.length)));
  row.workloads.replaceChildren(...workloads.map((workload) => workloadLine(workload, workloads.length)));
  const known = Number.isFinite(data.nodes) && Number.isFinite(data.readyNodes);
  setText(row.nodes, known ? `${data.readyNodes} of ${data.nodes}` : "unknown");
  row.nodes.classList.toggle("tone-bad", known && data.readyNodes < data.nodes);
  setText(row.versions, [data.agentVersion && `agent ${data.agentVersion}`, data.kubernetesVersion].filter(Boolean).join(" · "));
}

function messageLine(workload, total) {
  return element("div", "message", total > 1 ? `${workload.name ?? workload.rollout}: ${workload.message}` : workload.message);
}

function workloadLine(workload, total) {
  const line = element("div", "workload");
  const outcome = outcomeOf(workload);
  for (const image of imageList(workload.images)) line.append(element("span", "image", image));
  line.append(element("span", "muted", `${workloadName(workload)}${total > 1 ? `, ${outcome.text}` : ""}`));
  if (workload.rollout && total > 1) line.append(element("span", "muted", `by ${workload.rollout}`));
  return line;
}

// ---- Document

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function group(tag, className, ...children) {
  const made = element(tag, className);
  made.append(...children);
  return made;
}

// Writing what is already there would cost layout, and make screen readers say it again.
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function setData(target, values) {
  for (const [key, value] of Object.entries(values)) {
    if (target.dataset[key] !== String(value)) target.dataset[key] = String(value);
  }
}

function setNote(target, text) {
  setText(target, text);
  if (target.hidden !== (text === "")) target.hidden = text === "";
}

function forget(parts, name, root) {
  root.remove();
  parts.delete(name);
}

// Moves only what is out of place, so that focus and selection survive.
function placeInOrder(parent, children) {
  let next = parent.firstChild;
  for (const child of children) {
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
}

// ---- Each second

function tick() {
  const now = Date.now();
  const quiet = now - Math.max(state.lastEventAt ?? 0, state.openedAt);
  if (state.connection === "live" && now - state.lastEventAt > LOST_AFTER_MILLIS) lose();
  if (quiet > REOPEN_AFTER_MILLIS) open();
  draw();
}

byId("filter").addEventListener("input", drawSoon);
byId("attention-only").addEventListener("change", drawSoon);
setInterval(tick, 1000);
open();
draw();

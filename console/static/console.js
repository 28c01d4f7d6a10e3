// What a page gains with script. Every page works without it, but for what a
// passkey signs and what must never be shown while it is typed. A module
// without dependencies; passkey.js is loaded when a form needs it.
//
// Attributes that it looks for:
//
//   html[data-now]          the server's time when the page was made (RFC 3339)
//   html[data-units]        units of time, parted by bars: day, hour, minute, second
//   html[data-over]         what a deadline says when it has passed
//   [data-code=CODE]        what to say for a passkey.js Failure of that code
//   [data-clock=ist|utc]    shows the time of day
//   [data-until=TIME]       shows the time that is left, by the server's clock
//   [data-live=SECONDS]     with an id: is fetched anew and changes in place;
//                           not while somebody works in it, not in a hidden page
//   form[data-sign]         base64url challenge of 32 bytes. A passkey signs it
//                           before the form is sent; the assertion goes, as JSON,
//                           into the field "assertion". With it:
//   [data-credential]       the passkey (base64url),
//   [data-rp]               the relying party.
//                           A submit button may carry the three instead.
//   form[data-register]     JSON of the options of a registration; the result
//                           goes, as JSON, into the field "registration"
//   form[data-bring]        JSON {credential, rp, seal, given, content, label, to:
//                           {spki, content, label}}: a component that was given
//                           to a custodian is opened with their passkey and given
//                           to the module; the result goes into the field
//                           "given", its check value by [data-method] into "kcv"
//   form[data-show]         JSON {credential, rp, seal, given, content, label}:
//                           what was given to a custodian is opened with their
//                           passkey. A component is shown in [data-shown] for
//                           [data-seconds], with nobody else near; a share, with
//                           [data-check], is compared and not shown, and
//                           [data-result] says [data-same] or [data-other]
//   form[data-component]    number of hexadecimal digits: hidden entry. With it:
//   [data-seconds]          time for the entry, and again for the comparison,
//   [data-method]           method of the check value,
//   [data-to]               JSON {spki, content, label} of the module.
//                           Inside: [data-digits] input, [data-dots] list,
//                           [data-counted] text ("# of ##" in data-count),
//                           [data-left] seconds, [data-bar] rect, [data-kcv] what
//                           to compare, shown within [data-compare],
//                           button[data-wipe]. The enciphered component goes
//                           into the field "given", the check value into
//                           "kcv"; the digits go nowhere.
//   [data-problem]          where a form says what went wrong

const root = document.documentElement;
const loaded = performance.now();
const served = Date.parse(root.dataset.now);

// now is the server's time, however wrong this machine's clock is.
const now = () => served + performance.now() - loaded;

// ---- clocks ------------------------------------------------------------------

const pad = (n) => String(n).padStart(2, "0");
const offsets = { ist: 330 * 60000, utc: 0 };

// left is a duration as the server writes it: the two largest units.
function left(ms) {
  const units = root.dataset.units.split("|");
  const s = Math.floor(ms / 1000);
  const parts = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, s % 60];
  let first = parts.findIndex((n) => n > 0);
  if (first < 0) first = 3;
  const shown = [`${parts[first]} ${units[first]}`];
  const seconds = first === 2 && parts[2] >= 10;
  if (first < 3 && parts[first + 1] > 0 && !seconds) shown.push(`${parts[first + 1]} ${units[first + 1]}`);
  return shown.join(" ");
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tick() {
  const t = now();
  for (const e of document.querySelectorAll("[data-clock]")) {
    const d = new Date(t + offsets[e.dataset.clock]);
    put(e, `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}:${pad(d.getUTCSeconds())}`);
  }
  for (const e of document.querySelectorAll("[data-until]")) {
    const ms = Date.parse(e.dataset.until) - t;
    put(e, ms > 0 ? left(ms) : root.dataset.over);
  }
}

tick();
setInterval(tick, 1000);

// ---- live regions -------------------------------------------------------------

const due = new Map(); // id of a region: when it is to be fetched next

// busy says that somebody works in a region: it must not change under them.
function busy(region) {
  const at = document.activeElement;
  if (region.querySelector("form[data-busy]")) return true;
  return at !== document.body && region.contains(at) && at.matches("input, textarea, select");
}

// swap puts the fresh region into the place of the old one and keeps the focus.
function swap(old, fresh) {
  if (old.innerHTML === fresh.innerHTML) return;
  const at = document.activeElement;
  const inside = old.contains(at) && at !== old;
  const path = inside ? at.id || at.getAttribute("href") : null;
  const open = [...old.querySelectorAll("details")].map((d) => d.open);
  old.replaceChildren(...fresh.childNodes);
  old.querySelectorAll("details").forEach((d, i) => (d.open ||= open[i] ?? false));
  if (path) [...old.querySelectorAll("[id], a")].find((e) => e.id === path || e.getAttribute("href") === path)?.focus();
  setup(old);
  tick();
}

// fresh fetches this page again; null if the answer is another page. It is
// XMLHttpRequest because that parses a document without a Trusted Types sink.
function fresh() {
  return new Promise((done, failed) => {
    const x = new XMLHttpRequest();
    x.open("GET", location.href);
    x.setRequestHeader("Ankan-Live", "1");
    x.responseType = "document";
    x.timeout = 10000;
    x.onload = () => {
      if (x.responseURL.split("#")[0] !== location.href.split("#")[0]) done(null);
      else if (x.status === 200 && x.response) done(x.response);
      else failed(new Error(String(x.status)));
    };
    x.onerror = x.ontimeout = () => failed(new Error("no answer"));
    x.send();
  });
}

async function refresh() {
  if (document.hidden) return;
  const t = performance.now();
  const regions = [...document.querySelectorAll("[data-live][id]")].filter((r) => {
    if (!due.has(r.id)) due.set(r.id, t + 1000 * r.dataset.live);
    return due.get(r.id) <= t && !busy(r);
  });
  if (regions.length === 0) return;
  for (const r of regions) due.set(r.id, t + 1000 * r.dataset.live);
  let page;
  try {
    page = await fresh();
    delete root.dataset.offline;
  } catch {
    root.dataset.offline = "";
    return;
  }
  if (!page) return location.reload(); // the session has ended
  for (const old of regions) {
    const latest = page.getElementById(old.id);
    if (latest && !busy(old)) swap(old, latest);
  }
}

if (document.querySelector("[data-live][id]")) setInterval(refresh, 1000);

// ---- passkeys -----------------------------------------------------------------

const passkey = () => import("./passkey.js");

function tell(form, code) {
  const place = form.querySelector("[data-problem]");
  if (!place) return;
  const said = document.querySelector(`[data-code="${code}"]`) ?? document.querySelector('[data-code="failed"]');
  place.textContent = said ? said.textContent : code;
  place.hidden = false;
}

// wanted is what a form needs before it is sent: a function that fills a field.
function wanted(form, button) {
  const by = button?.dataset.sign !== undefined ? button : form;
  if (by.dataset.sign !== undefined) {
    return async (p) => {
      const got = await p.sign(p.decode(by.dataset.sign), by.dataset.credential, by.dataset.rp);
      form.elements.assertion.value = JSON.stringify(got);
    };
  }
  if (form.dataset.register !== undefined) {
    return async (p) => (form.elements.registration.value = JSON.stringify(await p.register(JSON.parse(form.dataset.register))));
  }
  if (form.dataset.bring !== undefined) {
    return async (p) => {
      const b = JSON.parse(form.dataset.bring);
      const key = await p.unlock(b.credential, b.rp, b.seal);
      const secret = await p.take(key, p.decode(b.seal.public_key), b.content, b.label, p.decode(b.given));
      try {
        if (form.dataset.method) form.elements.kcv.value = (await p.kcv(form.dataset.method, secret)).split(" ")[0];
        form.elements.given.value = p.encode(await p.give(p.decode(b.to.spki), b.to.content, b.to.label, secret));
      } finally {
        p.wipe(secret);
      }
    };
  }
  return null;
}

addEventListener("submit", async (event) => {
  const form = event.target;
  const fill = wanted(form, event.submitter);
  if (!fill || form.dataset.ready !== undefined) return;
  event.preventDefault();
  if (form.dataset.busy !== undefined) return;
  form.dataset.busy = "";
  const place = form.querySelector("[data-problem]");
  if (place) place.hidden = true;
  try {
    await fill(await passkey());
    form.dataset.ready = "";
    form.requestSubmit(event.submitter);
  } catch (failure) {
    tell(form, failure.code ?? "failed");
  } finally {
    delete form.dataset.busy;
    delete form.dataset.ready;
  }
});

// ---- a component on its custodian's own screen -----------------------------------

// shown opens what is sealed to the custodian. The digits stand in the page for
// a time, and go when it is over or the page is left.
async function shown(form) {
  const [list, clock, result, problem] = ["shown", "left", "result", "problem"].map((n) => form.querySelector(`[data-${n}]`));
  form.dataset.busy = "";
  problem.hidden = true;
  let secret;
  try {
    const p = await passkey();
    const b = JSON.parse(form.dataset.show);
    const key = await p.unlock(b.credential, b.rp, b.seal);
    secret = await p.take(key, p.decode(b.seal.public_key), b.content, b.label, p.decode(b.given));
    if (form.dataset.check) {
      const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", secret)).slice(0, 8);
      const same = [...sum].map((x) => x.toString(16).padStart(2, "0")).join("") === form.dataset.check.toLowerCase();
      result.textContent = same ? form.dataset.same : form.dataset.other;
      result.className = same ? "note ok" : "note bad";
      result.hidden = false;
      delete form.dataset.busy;
      return;
    }
    for (let i = 0; i < secret.length; i += 2) {
      const li = document.createElement("li");
      li.className = "in";
      li.textContent = [...secret.slice(i, i + 2)].map((x) => x.toString(16).padStart(2, "0")).join("").toUpperCase();
      list.append(li);
    }
    const ends = performance.now() + 1000 * form.dataset.seconds;
    const gone = () => {
      clearInterval(timer);
      list.replaceChildren();
      put(clock, "");
      delete form.dataset.busy;
    };
    const timer = setInterval(() => {
      const rest = Math.ceil((ends - performance.now()) / 1000);
      put(clock, String(Math.max(0, rest)));
      if (rest <= 0) gone();
    }, 200);
    addEventListener("pagehide", gone, { once: true });
  } catch (failure) {
    tell(form, failure.code ?? "failed");
    delete form.dataset.busy;
  } finally {
    secret?.fill(0);
  }
}

addEventListener("submit", (event) => {
  if (event.target.dataset.show === undefined) return;
  event.preventDefault();
  if (event.target.dataset.busy === undefined) shown(event.target);
});

// ---- hidden entry of a component ----------------------------------------------

// entry keeps the digits in an array that it can wipe. They are never in the
// input's value, in the document, or in a string.
function entry(form) {
  const size = Number(form.dataset.component);
  const seconds = Number(form.dataset.seconds);
  const [input, dots, counted, clock, bar, kcv, compare, problem] = ["digits", "dots", "counted", "left", "bar", "kcv", "compare", "problem"].map((n) => form.querySelector(`[data-${n}]`));
  const digits = new Uint8Array(size);
  let n = 0;
  let ends = 0;
  let timer = 0;
  let comparing = false;

  for (let i = 0; i < size; i += 4) dots.append(document.createElement("li"));

  const draw = () => {
    [...dots.children].forEach((li, i) => {
      const in_ = Math.max(0, Math.min(4, n - 4 * i));
      put(li, "•".repeat(in_));
      li.className = in_ === 4 ? "in" : n < size && i === Math.floor(n / 4) ? "at" : "";
    });
    put(counted, form.dataset.count.replace("##", size).replace("#", n));
  };
  const secret = () => {
    const bytes = new Uint8Array(size / 2);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (digits[2 * i] << 4) | digits[2 * i + 1];
    return bytes;
  };
  const wipe = (why) => {
    digits.fill(0);
    n = 0;
    ends = 0;
    comparing = false;
    clearInterval(timer);
    timer = 0;
    delete form.dataset.busy;
    compare.hidden = true;
    put(kcv, "");
    put(clock, String(seconds));
    bar.setAttribute("width", "100");
    input.disabled = false;
    draw();
    if (why) say(why);
  };
  const say = (text) => {
    put(problem, text);
    problem.hidden = !text;
  };
  const run = () => {
    ends = performance.now() + 1000 * seconds;
    form.dataset.busy = "";
    timer ||= setInterval(() => {
      const rest = Math.max(0, ends - performance.now());
      put(clock, String(Math.ceil(rest / 1000)));
      bar.setAttribute("width", String((100 * rest) / (1000 * seconds)));
      if (rest === 0) wipe(form.dataset.expired);
    }, 200);
  };
  const whole = async () => {
    comparing = true;
    input.disabled = true;
    run(); // the same time again, to compare
    const bytes = secret();
    try {
      const value = await (await passkey()).kcv(form.dataset.method, bytes, form.dataset.cipher);
      if (!comparing) return;
      put(kcv, value.split(" ")[0]);
      compare.hidden = false;
      compare.querySelector("button").focus();
    } catch (failure) {
      wipe();
      tell(form, failure.code ?? "failed");
    } finally {
      bytes.fill(0);
    }
  };

  input.addEventListener("beforeinput", (event) => {
    event.preventDefault();
    if (comparing) return;
    if (event.inputType === "deleteContentBackward") {
      if (n > 0) digits[--n] = 0;
    } else if (event.inputType !== "insertText" && event.inputType !== "insertCompositionText") {
      say(form.dataset.pasted);
      return;
    } else {
      for (const c of event.data ?? "") {
        if (c === " ") continue;
        const d = "0123456789abcdef".indexOf(c.toLowerCase());
        if (d < 0) {
          say(form.dataset.bad);
          return;
        }
        if (n === 0) run();
        if (n < size) digits[n++] = d;
      }
    }
    say("");
    draw();
    if (n === size) whole();
  });
  for (const kind of ["paste", "drop"]) {
    input.addEventListener(kind, (event) => {
      event.preventDefault();
      say(form.dataset.pasted);
    });
  }
  form.querySelector("[data-wipe]").addEventListener("click", () => wipe());
  form.addEventListener("submit", async (event) => {
    if (form.dataset.ready !== undefined) return;
    event.preventDefault();
    if (!comparing || compare.hidden) return;
    const bytes = secret();
    try {
      const p = await passkey();
      const to = JSON.parse(form.dataset.to);
      form.elements.given.value = p.encode(await p.give(p.decode(to.spki), to.content, to.label, bytes));
      form.elements.kcv.value = kcv.textContent;
      wipe();
      form.dataset.ready = "";
      form.requestSubmit();
    } catch (failure) {
      tell(form, failure.code ?? "failed");
    } finally {
      bytes.fill(0);
    }
  });
  addEventListener("pagehide", () => wipe());
  draw();
}

// ---- a page or a part of it ------------------------------------------------------

function setup(part) {
  for (const form of part.querySelectorAll("form[data-component]")) entry(form);
}

setup(document);

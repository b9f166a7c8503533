"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const PAGE = 100, LONG = 1500;
  const many = data.runs.length > 1;

  // every element is made here, and every text becomes a text node
  const make = (tag, props = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(props)) {
      if (key === "class") element.className = value;
      else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };

  const all = [];
  data.runs.forEach((run, number) => run.episodes.forEach((episode) => {
    const turns = episode.turns || [];
    all.push({
      episode, run: number,
      text: [episode.id, episode.type, episode.situation, episode.profile, ...turns.map((t) => t.text)]
        .join("\n").toLowerCase(),
      strategies: new Set(turns.flatMap((t) => t.strategies || [])),
      shows: {
        crisis: turns.some((t) => t.crisis), repairs: turns.some((t) => t.repairs || t.raw),
        ratings: !!episode.ratings, error: !!episode.error,
        unread: (episode.verdicts || []).some((v) => v.unread) || (episode.ratings || []).some((r) => r.unreadable),
      },
    });
  }));

  const fill = (id, any, values) => {
    $(id).append(make("option", { value: "" }, any),
      ...values.map(([value, label]) => make("option", { value }, label)));
  };
  const distinct = (values) => [...new Set(values)].sort((a, b) => a.localeCompare(b)).map((v) => [v, v]);
  fill("run", "all", data.runs.map((run, number) => [String(number), run.name]));
  fill("type", "all", distinct(all.map((entry) => entry.episode.type)));
  fill("strategy", "any", data.strategies.map((name) => [name, name]));
  fill("stop", "any", distinct(all.map((entry) => entry.episode.stop)));

  let found = all, shown = 0, chosen = null;

  const matches = () => {
    const words = $("search").value.toLowerCase().trim();
    const [run, type, strategy, stop, shows] = ["run", "type", "strategy", "stop", "shows"].map((id) => $(id).value);
    return all.filter((entry) =>
      (!run || entry.run === Number(run)) && (!type || entry.episode.type === type) &&
      (!stop || entry.episode.stop === stop) && (!strategy || entry.strategies.has(strategy)) &&
      (!shows || entry.shows[shows]) && (!words || entry.text.includes(words)));
  };

  const row = (entry) => make("div", {
    role: "option", "aria-selected": String(entry === chosen), id: `row-${all.indexOf(entry)}`,
    onclick: () => choose(entry, true),
  }, make("bdi", {}, entry.episode.type), make("small", {}, make("bdi", {}, entry.episode.id),
    `${many ? ` · ${data.runs[entry.run].name}` : ""} · ${(entry.episode.turns || []).length} utterances · ${entry.episode.stop}`));

  const more = () => {
    $("list").append(...found.slice(shown, shown + PAGE).map(row));
    shown = Math.min(found.length, shown + PAGE);
  };

  const refresh = () => {
    found = matches();
    shown = 0;
    $("list").replaceChildren();
    more();
    $("count").textContent = `${found.length} of ${all.length} conversations`;
  };

  const marked = (text) => {
    const words = $("search").value.toLowerCase().trim();
    const parts = [];
    let from = 0;
    const low = text.toLowerCase();
    // lower case of some letters is longer than the letter; then marks would stand wrong
    if (words && low.length === text.length) {
      for (let at = low.indexOf(words); at >= 0 && parts.length < 400; at = low.indexOf(words, from)) {
        parts.push(text.slice(from, at), make("mark", {}, text.slice(at, at + words.length)));
        from = at + words.length;
      }
    }
    parts.push(text.slice(from));
    return parts;
  };

  const paragraph = (text, props = {}) => {
    if (text.length <= LONG) return make("p", { dir: "auto", ...props }, ...marked(text));
    const whole = make("p", { dir: "auto", ...props }, `${text.slice(0, LONG)}…`);
    const button = make("button", { type: "button", onclick: () => { whole.replaceChildren(...marked(text)); } },
      `Show all ${text.length.toLocaleString("en")} characters`);
    whole.append(" ", button);
    return whole;
  };

  const folded = (title, ...children) => make("details", {}, make("summary", {}, title), ...children);

  const rating = (note) => {
    const value = note.unreadable ? "could not be read" : note.value ?? 0;
    return make("li", {}, `${note.dimension}: ${value} (${note.by}${note.candidate ? `, ${note.candidate}` : ""})`,
      note.why ? make("span", { dir: "auto", class: "raw" }, ` ${note.why}`) : null);
  };

  const turn = (said, number, episode) => {
    const strategies = (said.strategies || []).map((name) =>
      make("span", { class: `chip strategy-${data.strategies.indexOf(name)}` }, name));
    const notes = (episode.ratings || []).filter((note) => (note.at ?? null) === number);
    const verdicts = (episode.verdicts || []).filter((verdict) => verdict.after === number + 1);
    return make("div", { class: `turn ${said.who}` },
      make("div", { class: "who" }, said.who === "s" ? "Seeker" : "Supporter", ...strategies,
        ...(said.repairs || []).map((name) => make("span", { class: "chip plain" }, name)),
        ...(said.crisis || []).map((name) => make("span", { class: "chip crisis" }, `crisis language: ${name}`)),
        ...verdicts.map((verdict) => make("span", { class: "chip plain" },
          `judger: ${verdict.unread ? "unreadable" : verdict.end ? "it is over" : "go on"}`))),
      paragraph(said.text || ""),
      said.raw ? folded("As the model wrote it", paragraph(said.raw, { class: "raw" })) : null,
      notes.length ? folded(`${notes.length} ratings`, make("ul", {}, ...notes.map(rating))) : null);
  };

  const whole = (entry) => {
    const episode = entry.episode;
    const general = (episode.ratings || []).filter((note) => note.at === undefined);
    return make("section", {},
      make("h3", {}, make("bdi", {}, episode.type), many ? ` · ${data.runs[entry.run].name}` : ""),
      make("p", { class: "note" }, make("bdi", {}, episode.id),
        ` · ${episode.stop}${episode.seconds === undefined ? "" : ` · ${episode.seconds} s`} · ${episode.tokens ?? 0} tokens`),
      episode.error ? make("p", { class: "guidance" }, episode.error) : null,
      episode.situation || episode.profile ? folded("What only the seeker knows",
        episode.profile ? paragraph(episode.profile) : null,
        episode.situation ? paragraph(episode.situation) : null) : null,
      ...(episode.turns || []).map((said, number) => turn(said, number, episode)),
      general.length ? folded(`${general.length} ratings of the conversation`,
        make("ul", {}, ...general.map(rating))) : null);
  };

  const choose = (entry, byHand) => {
    chosen = entry;
    for (const element of $("list").children) {
      element.setAttribute("aria-selected", String(element.id === `row-${all.indexOf(entry)}`));
    }
    $("list").setAttribute("aria-activedescendant", `row-${all.indexOf(entry)}`);
    const twins = many ? all.filter((other) => other.episode.id === entry.episode.id) : [entry];
    $("detail").replaceChildren(
      make("button", { type: "button", class: "back", onclick: () => {
        document.querySelector(".browser").classList.remove("open");
        $("list").focus();
      } }, "Back to the list"),
      make("div", { class: "side" }, ...twins.map(whole)));
    document.querySelector(".browser").classList.add("open");
    if (byHand) history.replaceState(null, "", `#c=${entry.run}/${encodeURIComponent(entry.episode.id)}`);
  };

  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); };
  $("filters").addEventListener("input", soon);
  $("filters").addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
  $("list").addEventListener("scroll", () => {
    const list = $("list");
    if (shown < found.length && list.scrollTop + list.clientHeight > list.scrollHeight - 300) more();
  });
  $("list").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || !found.length) return;
    event.preventDefault();
    const at = Math.max(0, Math.min(found.length - 1, found.indexOf(chosen) + step));
    while (shown <= at) more();
    choose(found[at], true);
    $(`row-${all.indexOf(found[at])}`).scrollIntoView({ block: "nearest" });
  });
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => {
    const root = document.documentElement.classList;
    const dark = root.contains("dark") ||
      (!root.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
    root.remove("dark", "light");
    root.add(dark ? "light" : "dark");
  });

  refresh();
  const asked = /^#c=(\d+)\/(.*)$/.exec(location.hash);
  if (asked) {
    const entry = all.find((each) => each.run === Number(asked[1]) && each.episode.id === decodeURIComponent(asked[2]));
    if (entry) choose(entry, false);
  }
})();

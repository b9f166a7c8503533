"use strict";
// Comfort only: every page works without this file.
document.addEventListener("keydown", (event) => {
  const field = event.target;
  if (field instanceof HTMLTextAreaElement && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    field.form.requestSubmit();
    return;
  }
  if (field instanceof HTMLTextAreaElement || field instanceof HTMLInputElement || field instanceof HTMLSelectElement) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const found = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (found) {
    event.preventDefault();
    found.focus();
    if (found.matches("button")) found.click();
  }
});
// a second click sends nothing; the server refuses it in any case
document.addEventListener("submit", (event) => {
  for (const button of event.target.querySelectorAll("button")) {
    setTimeout(() => { button.disabled = true; }, 0);
    setTimeout(() => { button.disabled = false; }, 5000);
  }
});
const waiting = document.getElementById("waiting") || document.getElementById("text");
if (waiting) waiting.scrollIntoView({ block: "nearest" });
// a reply as it is written: whole sentences come, their words appear one by one
if (waiting && waiting.dataset.stream && window.EventSource) {
  waiting.removeAttribute("hx-get"); // no need to ask each second as well
  const source = new EventSource(waiting.dataset.stream);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let place = null, whole = "", shown = 0, done = false, timer = 0;
  const step = () => {
    timer = 0;
    const next = still ? null : /\s*\S+/y;
    if (next) next.lastIndex = shown;
    const found = next && next.exec(whole);
    shown = found ? next.lastIndex : whole.length;
    if (place) place.textContent = whole.slice(0, shown);
    if (shown < whole.length) timer = setTimeout(step, 45);
    else if (done) location.reload();
  };
  source.addEventListener("text", (event) => {
    const text = JSON.parse(event.data);
    if (!text.startsWith(whole)) shown = 0; // begun anew
    whole = text;
    if (!place) {
      const item = document.createElement("li");
      item.className = "supporter";
      item.setAttribute("aria-busy", "true"); // read out when it is whole
      const who = document.createElement("span");
      who.className = "who";
      who.textContent = "Supporter";
      place = document.createElement("p");
      place.id = "written";
      item.append(who, " ", place);
      document.querySelector(".talk").append(item);
    }
    if (!timer) step();
  });
  source.addEventListener("done", () => {
    source.close();
    done = true;
    if (!timer) step();
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
  });
}

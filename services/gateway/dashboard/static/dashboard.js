// What the pages do by themselves; each of them works without it, too.
"use strict";

const YEAR_S = 31536000;

function themed() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return document.documentElement.dataset.theme || (dark ? "dark" : "light");
}

// The server reads the cookie, so that a page comes in its colours at once.
function switchTheme(button) {
  const next = themed() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  document.cookie = `lumni_theme=${next}; path=/dashboard; max-age=${YEAR_S}; samesite=strict`;
  name(button);
}

function name(button) {
  button.textContent = themed() === "dark" ? "Light" : "Dark";
}

// Ask again for the part of a page that changes, while somebody can see it. The session may have ended: then the
// whole page asks, and is sent to the sign-in.
async function refresh(part) {
  if (document.hidden || part.contains(document.activeElement)) return;
  let answer;
  try {
    answer = await fetch(part.dataset.live, { headers: { "x-lumni-fragment": "1" }, redirect: "error" });
  } catch {
    return;
  }
  if (answer.status === 401) {
    location.reload();
  } else if (answer.ok) {
    const text = await answer.text();
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    part.innerHTML = text;
    part.querySelectorAll("details").forEach((one, index) => { one.open = open[index] ?? false; });
  }
}

// On a phone the menu is longer than the screen.
document.querySelector("header nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
for (const button of document.querySelectorAll("[data-theme-switch]")) {
  button.hidden = false;
  name(button);
  button.addEventListener("click", () => switchTheme(button));
}
for (const part of document.querySelectorAll("[data-live]")) {
  setInterval(() => refresh(part), Number(part.dataset.every) * 1000);
}
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    button.textContent = "Copied";
  });
}

// Enhancements only: the pages work without this script.
"use strict";

function showZones(root) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = format.format(new Date(time.dateTime));
  }
}

function addCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const element of root.querySelectorAll("[data-copy]")) {
    if (element.nextElementSibling?.classList.contains("copy")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy quiet";
    button.textContent = "Copy";
    const text = element.dataset.copy || element.textContent;
    button.setAttribute("aria-label", `Copy ${text}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    element.after(button);
  }
}

// Parts with data-refresh="SECONDS" are fetched again in place, while the page is visible and nobody types in them.
async function refresh(parts) {
  const idle = parts.filter((part) => !part.contains(document.activeElement));
  if (document.hidden || !idle.length) return;
  const response = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!response?.ok || response.redirected) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of idle) {
    const fresh = page.getElementById(part.id);
    if (!fresh) continue;
    for (const details of part.querySelectorAll("details[id][open]")) {
      const other = fresh.querySelector(`#${CSS.escape(details.id)}`);
      if (other) other.open = true;
    }
    part.replaceChildren(...fresh.childNodes);
    enhance(part);
  }
}

function enhance(root) {
  showZones(root);
  addCopyButtons(root);
}

enhance(document);
const refreshed = [...document.querySelectorAll("[data-refresh]")];
const interval = Math.min(...refreshed.map((part) => Number(part.dataset.refresh)));
if (refreshed.length) setInterval(refresh, interval * 1000, refreshed);
document.querySelector(".error-summary")?.focus();

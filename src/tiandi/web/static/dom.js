// Elements without a framework. Text is always set as text, never read as markup.
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Text that is written only when it changed, so that a reader's selection and the browser's layout are left alone.
export function write(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

// Children of `parent` follow `items`: elements are kept by key, so that focus and scrolling stay where they are.
export function follow(parent, items, keyOf, make, update) {
  const kept = parent.followed ?? new Map();
  const now = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    if (now.has(key)) continue;
    const element = kept.get(key) ?? make(item);
    kept.delete(key);
    now.set(key, element);
    update(element, item);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  }
  for (const element of kept.values()) element.remove();
  parent.followed = now;
}

// Choices of a select follow `items` of [value, text]; what was chosen stays chosen.
export function followOptions(select, items) {
  const chosen = select.value;
  const wanted = items.map((item) => item.join("\t")).join("\n");
  if (select.wanted === wanted) return;
  select.wanted = wanted;
  select.replaceChildren(...items.map(([value, text]) => h("option", { value }, text)));
  if (items.some(([value]) => value === chosen)) select.value = chosen;
}

// A resolved colour of the style sheet, light or dark as it is now.
const probe = document.createElement("span");
export function colourOf(name) {
  if (!probe.isConnected) { probe.hidden = true; document.body.append(probe); }
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

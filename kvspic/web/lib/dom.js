// Elements of the page. Every text enters by textContent or an attribute, never as markup.

/** Makes an element. `options`: members of the element such as className or onclick, and `data` and `attributes` as
 * objects; `children` are elements or texts, null ones are left out. */
export function make(name, options = {}, ...children) {
  const element = document.createElement(name);
  const { data = {}, attributes = {}, ...members } = options;
  Object.assign(element, members);
  Object.assign(element.dataset, data);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Writes a text where it differs, so that a selection in it stays. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Keeps one child of `parent` for each row, in their order. `key` names a row, `create` makes its element, `update`
 * writes the row into it. */
export function keep(parent, rows, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const row of rows) {
    const name = String(key(row));
    let element = known.get(name);
    known.delete(name);
    if (!element) {
      element = create(row);
      element.dataset.key = name;
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
    update(element, row);
  }
  for (const element of known.values()) element.remove();
}

/** A definition list cell: a number with its name. */
export function tile(label, title = "") {
  const value = make("dd", {}, "–");
  return { element: make("div", { className: "tile", title }, make("dt", {}, label), value), value };
}

/* A table that sorts, filters and pages, and whose rows may open.

   into: the element that it is put into.
   rows: objects; order: the key of the column that they are ordered by; without it they stay as they are until a click.
   columns: {key, title, value(row), cell(row) or nothing, number, long: whether it is read and not compared,
     falls: whether the first click puts the largest first}
   filters: {title, value(row), shown(value), options: [value]}, each of which selects rows of one value
   words(row): what the text filter searches
   details(row): what an opened row shows, title(row): its name; without them rows do not open.
*/
const sortableTable = ({ into, caption, rows, columns, order, filters, words, details, title, things }) => {
  const narrow = matchMedia("screen and (max-width: 700px)"); // where the style sheet makes a card of each row
  const size = () => (narrow.matches ? 10 : 25);
  const state = { key: order ?? null, falls: false, page: 0, text: "", chosen: filters.map(() => ""), open: new Set() };
  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => (typeof a === "number" ? a - b : collator.compare(a, b));
  const unknown = (value) => value === null || value === undefined || value === "";
  const searched = new Map();
  const found = (row) => {
    if (!searched.has(row)) searched.set(row, words(row).toLowerCase());
    return searched.get(row).includes(state.text);
  };

  const chosenRows = () => {
    const chosen = rows.filter((row) => (!state.text || found(row))
      && filters.every((filter, k) => !state.chosen[k] || String(filter.value(row)) === state.chosen[k]));
    if (state.key === null) return chosen;
    const { value } = columns.find((column) => column.key === state.key);
    const valued = chosen.map((row) => [row, value(row)]);
    const known = valued.filter(([, own]) => !unknown(own));
    known.sort(([, a], [, b]) => (state.falls ? compare(b, a) : compare(a, b)));
    return [...known, ...valued.filter(([, own]) => unknown(own))].map(([row]) => row);
  };

  const classOf = (column) => `of-${column.key}${column.number ? " number" : ""}${column.long ? " long" : ""}`;
  const width = columns.length + (details ? 1 : 0);

  const body = make("tbody", { role: "rowgroup" });
  const heads = new Map();
  const head = make("tr", { role: "row" }, details ? make("th", { scope: "col", role: "columnheader", class: "opener" }, make("span", { class: "visually-hidden" }, "Details")) : null);
  const sortBy = (key, falls) => {
    Object.assign(state, { key, falls, page: 0 });
    draw();
    const { title: name } = columns.find((column) => column.key === key);
    announce(`Sorted by ${name}, ${falls ? "descending" : "ascending"}`);
  };
  for (const column of columns) {
    const button = make("button", { type: "button", class: "sort" }, column.title, make("span", { class: "arrow", "aria-hidden": "true" }));
    const cell = make("th", { scope: "col", role: "columnheader", class: classOf(column) }, button);
    button.addEventListener("click", () => sortBy(column.key, state.key === column.key ? !state.falls : Boolean(column.falls)));
    heads.set(column.key, cell);
    head.append(cell);
  }

  const draw = () => {
    const chosen = chosenRows();
    const length = size();
    const pages = Math.max(1, Math.ceil(chosen.length / length));
    state.page = Math.min(state.page, pages - 1);
    const visible = chosen.slice(state.page * length, (state.page + 1) * length);
    for (const [key, cell] of heads) {
      if (key === state.key) cell.setAttribute("aria-sort", state.falls ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    body.replaceChildren(...visible.flatMap(details ? both : (row) => [lineOf(row)]));
    if (!visible.length) body.append(make("tr", { role: "row" }, make("td", { role: "cell", colspan: width }, `No ${things} fit the filters.`)));
    const first = state.page * length + 1;
    const range = visible.length ? `${things} ${first} to ${first + visible.length - 1} of ${chosen.length}` : `no ${things}`;
    shown.textContent = `Showing ${range}${chosen.length < rows.length ? `, filtered from ${rows.length}` : ""}`;
    place.textContent = `Page ${state.page + 1} of ${pages}`;
    previous.disabled = state.page === 0;
    next.disabled = state.page >= pages - 1;
    choice.value = `${state.key} ${state.falls}`;
  };

  const lineOf = (row, ...before) => make("tr", { role: "row", class: "main" }, ...before, ...columns.map((column) => {
    const content = column.cell ? column.cell(row) : unknown(column.value(row)) ? "–" : String(column.value(row));
    return make("td", { role: "cell", class: classOf(column), "data-title": column.title }, make("div", { class: "value" }, content));
  }));

  const both = (row) => {
    const id = `details-${rows.indexOf(row)}`;
    const isOpen = state.open.has(row);
    const button = make("button", { type: "button", class: "open", "aria-expanded": String(isOpen), "aria-controls": id,
      "aria-label": `Details of ${title(row)}` }, make("span", { class: "arrow", "aria-hidden": "true" }));
    const inner = make("div", { class: "inner" });
    const below = make("tr", { id, role: "row", class: "details", hidden: !isOpen }, make("td", { role: "cell", colspan: width }, inner));
    const fill = () => { if (!inner.hasChildNodes()) inner.append(...details(row).filter(Boolean)); };
    below.fill = fill;
    if (isOpen) fill();
    button.addEventListener("click", () => {
      const opens = !state.open.has(row);
      if (opens) state.open.add(row);
      else state.open.delete(row);
      fill();
      below.hidden = !opens;
      button.setAttribute("aria-expanded", String(opens));
    });
    return [lineOf(row, make("td", { role: "cell", class: "opener" }, button)), below];
  };

  addEventListener("beforeprint", () => {
    for (const below of body.querySelectorAll("tr.details")) {
      below.fill();
      below.wasHidden = below.hidden;
      below.hidden = false;
    }
  });
  addEventListener("afterprint", () => {
    for (const below of body.querySelectorAll("tr.details")) below.hidden = below.wasHidden;
  });

  const short = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);
  let fields = 0;
  const field = (name, control, kind = "") => {
    control.id = `${into.id}-field-${fields += 1}`;
    return make("div", { class: `field ${kind}` }, make("label", { for: control.id }, name), control);
  };
  const text = make("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  text.addEventListener("input", () => { Object.assign(state, { text: text.value.trim().toLowerCase(), page: 0 }); draw(); });
  const selects = filters.map((filter, k) => {
    const select = make("select", {}, make("option", { value: "" }, "all"),
      ...filter.options.map((option) => make("option", { value: option }, short(filter.shown ? filter.shown(option) : String(option)))));
    select.addEventListener("change", () => { state.chosen[k] = select.value; state.page = 0; draw(); });
    return field(filter.title, select);
  });
  const choice = make("select", {}, order ? null : make("option", { value: "null false" }, "as listed"), ...columns.flatMap((column) => [false, true].map((falls) =>
    make("option", { value: `${column.key} ${falls}` }, `${column.title}, ${falls ? "descending" : "ascending"}`))));
  choice.addEventListener("change", () => {
    const [key, falls] = choice.value.split(" ");
    if (key !== "null") sortBy(key, falls === "true");
    else { Object.assign(state, { key: null, falls: false, page: 0 }); draw(); }
  });
  const clear = make("button", { type: "button" }, "Clear filters");
  clear.addEventListener("click", () => {
    text.value = "";
    for (const select of into.querySelectorAll(".filters select")) if (select !== choice) select.value = "";
    Object.assign(state, { text: "", chosen: filters.map(() => ""), page: 0 });
    draw();
  });
  const previous = make("button", { type: "button" }, "Previous");
  const next = make("button", { type: "button" }, "Next");
  const place = make("span", { class: "place" });
  const shown = make("p", { class: "shown", role: "status" });
  const turn = (by) => { state.page += by; draw(); into.scrollIntoView({ block: "start" }); };
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));

  into.append(
    make("div", { class: "filters", role: "group", "aria-label": `Filters of ${things}` },
      field("Search", text), ...selects, field("Sort by", choice, "narrow"), clear),
    shown,
    make("div", { class: "box tall", role: "region", tabindex: "0", "aria-label": caption },
      make("table", { role: "table", class: "sortable" }, make("caption", { class: "visually-hidden" }, caption), make("thead", { role: "rowgroup" }, head), body)),
    make("div", { class: "pages" }, previous, place, next));
  draw();
  narrow.addEventListener("change", () => {
    if (matchMedia("print").matches) return; // paper has what was on the screen
    state.page = 0;
    draw();
  });
};

/* The tables of a report: each is read from the page, and sorts once it is seen. */
(() => {
  const MOST = 12; // values of a column that a filter offers
  const SHORT = 10; // rows of a table that needs no filters
  const isUnknown = (text) => text === "" || text === "–";
  const numberOf = (text) => {
    const number = Number.parseFloat(text.replace("−", "-").replaceAll(",", ""));
    return Number.isNaN(number) ? null : number;
  };

  /* The first columns say what a row is about: those of few values can be chosen from. */
  const filtersOf = (columns, rows) => {
    const filters = [];
    for (const { title, text } of columns) {
      const options = [...new Set(rows.map(text))].filter((value) => !isUnknown(value));
      if (options.length > MOST) break;
      if (options.length > 1) filters.push({ title, value: text, options });
    }
    return filters;
  };

  const makeSortable = (into) => {
    const table = into.querySelector("table");
    const caption = table.caption.textContent;
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));
    const columns = [...table.tHead.rows[0].cells].map((head, k) => {
      const number = head.classList.contains("number");
      const text = (row) => row[k];
      return { key: `column-${k}`, title: head.textContent, number, long: head.classList.contains("long"), text,
        value: number ? (row) => numberOf(row[k]) : text, cell: (row) => named(isUnknown(row[k]) ? "–" : row[k]) };
    });
    const isShort = rows.length <= SHORT;
    into.replaceChildren();
    into.classList.toggle("short", isShort);
    sortableTable({ into, rows, columns, caption, things: "rows", filters: isShort ? [] : filtersOf(columns, rows), words: (row) => row.join("\n") });
  };

  for (const into of document.querySelectorAll(".sorts")) {
    const folded = into.closest("details");
    if (folded && !folded.open) folded.addEventListener("toggle", () => makeSortable(into), { once: true });
    else makeSortable(into);
  }
})();

/* The table of rows of an audit, from its data. */
(() => {
  const into = document.getElementById("table");
  if (!into) return;
  const data = embedded("data");
  const rows = data.rows.map((values) => Object.fromEntries(data.fields.map((field, k) => [field, values[k]])));
  const label = (number) => (number === null ? "–" : data.names[number]);
  const sampleOf = (number) => (number === null ? null : data.samples[number]);
  const columnsOf = (sample) => data.columns[sample.columns].map((number) => data.names[number]);
  const exact = (value) => {
    if (value === null) return "–";
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en");
    return value === 0 ? "0" : size < 0.001 ? value.toExponential(1) : value.toPrecision(3);
  };
  const percent = (value) => {
    if (value === null) return "–";
    if (value > 0.995 && value < 1) return "over 99\u00a0%";
    if (value > 0 && value < 0.005) return "under 1\u00a0%";
    return `${Math.round(100 * value)}\u00a0%`;
  };
  const influence = (value) => (value === null ? "–" : value === 0 ? "neither" : `${exact(Math.abs(value))} ${value > 0 ? "harmful" : "helpful"}`);
  const titleOf = (row) => `row ${row.row}`;
  const decision = (word) => make("span", { class: `decision ${word}` }, word);
  const plainText = (sample) => sample.parts.filter((_, k) => k % 2 === 0).join("");

  const words = (sample) => {
    if (!sample || "picture" in sample) return "";
    if ("parts" in sample) return plainText(sample);
    return columnsOf(sample).map((name, k) => `${name} ${sample.values[k]}`).join(" · ");
  };

  const picture = (sample, text, kind) => {
    const image = make("img", { src: data.pictures[sample.picture], alt: text, class: kind, decoding: "async" });
    image.addEventListener("load", () => { if (image.naturalWidth <= 96) image.classList.add("small"); });
    return image;
  };

  /* A few words, or a thumbnail, of a sample; unusual cells come first. */
  const preview = (sample, text) => {
    if (!sample) return "–";
    if ("picture" in sample) return picture(sample, text, "thumbnail");
    if ("parts" in sample) return make("span", { dir: "auto" }, plainText(sample).slice(0, 160));
    const names = columnsOf(sample);
    const order = [...names.keys()].sort((a, b) => (b in sample.unusual) - (a in sample.unusual));
    return make("span", {}, ...order.slice(0, 3).flatMap((k, place) => [place ? " · " : null, named(names[k]), " ", make("b", { dir: "auto" }, sample.values[k])]));
  };

  /* A text whose words are marked by what they say of the given label: by background, kind of underline and weight. */
  const marked = (sample) => {
    const text = make("p", { class: "text", dir: "auto" });
    for (let k = 0; k < sample.parts.length; k += 2) {
      const level = sample.parts[k + 1];
      const [, before, part, after] = sample.parts[k].match(/^(\s*)([^]*?)(\s*)$/);
      text.append(before, level && part ? make("mark", { class: `${level < 0 ? "against" : "for"} level-${Math.abs(level)}` }, part) : part, after);
    }
    return text;
  };

  const strongest = (sample, sign) => {
    const found = [];
    for (let k = 0; k < sample.parts.length; k += 2) {
      const level = sign * sample.parts[k + 1];
      const part = sample.parts[k].trim();
      if (level > 0 && part && !found.some(([, known]) => known === part)) found.push([level, part]);
    }
    return found.sort((a, b) => b[0] - a[0]).slice(0, 6).map(([, part]) => part);
  };

  const listed = (parts) => parts.flatMap((part, k) => [k ? ", " : null, named(part)]);

  const textDetails = (row, sample) => {
    const lines = [["Against", -1, "against"], ["For", 1, "for"]].map(([word, sign, kind]) => {
      const parts = strongest(sample, sign);
      return parts.length ? make("p", { class: "soft" }, make("mark", { class: `${kind} level-3` }, word), " the label ", named(label(row.given)), ": ", ...listed(parts)) : null;
    });
    return [marked(sample), ...lines];
  };

  const nearRows = (row) => ["harmful", "helpful"].flatMap((kind) =>
    row[kind].map(([number, given, distance, shown]) => ({ row: number, given, distance, sample: sampleOf(shown), kind })));

  const under = (near) => [make("b", {}, `Row ${near.row}`), ", ", near.kind, make("br"), "given: ", named(label(near.given)), make("br"), make("span", { class: "soft" }, `distance ${exact(near.distance)}`)];

  /* Its nearest rows, each with its sample. */
  const nearList = (others) => (others.length === 0 ? [] : [make("h3", {}, "Nearest rows"), make("ul", { class: "near" }, ...others.map((near) =>
    make("li", { class: near.kind }, near.sample ? ("picture" in near.sample ? picture(near.sample, `Picture of row ${near.row}`, "thumbnail") : marked(near.sample)) : null,
      make("p", {}, ...under(near)))))]);

  /* A row of a table beside its nearest rows, a line for each column; unusual values come first, and are said in words. */
  const compared = (row, sample) => {
    const near = nearRows(row).filter((other) => other.sample && "columns" in other.sample);
    const lookup = near.map((other) => new Map(columnsOf(other.sample).map((name, k) => [name, other.sample.values[k]])));
    const names = columnsOf(sample);
    const order = [...names.keys()].sort((a, b) => (b in sample.unusual) - (a in sample.unusual));
    const top = make("tr", {}, make("th", { scope: "col" }, "Column"), make("th", { scope: "col" }, `Row ${row.row}`), make("th", { scope: "col" }, "Unusual"),
      ...near.map((other) => make("th", { scope: "col" }, `Row ${other.row}, ${other.kind}`)));
    const labels = make("tr", {}, make("th", { scope: "row" }, "Given label"), make("td", {}, named(label(row.given))), make("td"),
      ...near.map((other) => make("td", {}, named(label(other.given)))));
    const distances = make("tr", {}, make("th", { scope: "row" }, "Distance"), make("td"), make("td"), ...near.map((other) => make("td", {}, exact(other.distance))));
    const lines = order.map((k) => make("tr", { class: k in sample.unusual ? "unusual" : null }, make("th", { scope: "row" }, named(names[k])), make("td", { dir: "auto" }, sample.values[k]),
      make("td", {}, sample.unusual[k] ?? ""), ...lookup.map((values) => make("td", { dir: "auto", class: values.get(names[k]) === sample.values[k] ? "same" : null }, values.get(names[k]) ?? "–"))));
    const hint = near.length ? make("p", { class: "sideways" }, "Scroll the table sideways to see the nearest rows\u00a0→") : null;
    const box = make("div", { class: "box", role: "region", tabindex: "0", "aria-label": `Cells of row ${row.row}` },
      make("table", { class: "compared" }, make("caption", {}, `Row ${row.row}${near.length ? " and its nearest rows" : ""}`), make("thead", {}, top), make("tbody", {}, labels, near.length ? distances : null, ...lines)));
    return [hint, box];
  };

  const details = (row) => {
    const sample = sampleOf(row.shown);
    const facts = make("div", {},
      make("p", { class: "reason", dir: "auto" }, row.reason),
      make("p", {}, decision(row.decision), " given: ", named(label(row.given)), "; suggested: ", named(label(row.suggested)), ` (${percent(row.probability)}).`));
    if (row.id !== null) facts.append(make("p", { class: "soft" }, "Name: ", named(row.id)));
    if (row.file !== null) facts.append(make("p", { class: "soft" }, "File: ", named(row.file)));
    const parts = [facts];
    if (sample && "columns" in sample) return [...parts, ...compared(row, sample), ...nearList(nearRows(row).filter((near) => !near.sample))];
    if (sample && "picture" in sample) parts[0] = make("div", { class: "beside" }, picture(sample, `Picture of row ${row.row}`, "large"), facts);
    if (sample && "parts" in sample) parts.push(...textDetails(row, sample));
    return [...parts, ...nearList(nearRows(row))];
  };

  rows.forEach((row, k) => { row.place = k + 1; });
  const columns = [
    { key: "place", title: "Place", value: (row) => row.place, number: true },
    { key: "row", title: "Row", value: (row) => row.row, number: true },
    { key: "id", title: "Name", value: (row) => row.id, cell: (row) => (row.id === null ? "–" : named(row.id)) },
    { key: "file", title: "File", value: (row) => row.file, cell: (row) => (row.file === null ? "–" : named(row.file)) },
    { key: "sample", title: "Sample", value: (row) => words(sampleOf(row.shown)).slice(0, 200), cell: (row) => preview(sampleOf(row.shown), `Picture of row ${row.row}`) },
    { key: "given", title: "Given label", value: (row) => label(row.given), cell: (row) => named(label(row.given)) },
    { key: "suggested", title: "Suggested label", value: (row) => label(row.suggested), cell: (row) => named(label(row.suggested)) },
    { key: "probability", title: "Probability", value: (row) => row.probability, cell: (row) => percent(row.probability), number: true, falls: true },
    { key: "doubt", title: "Doubt", value: (row) => row.doubt, cell: (row) => percent(row.doubt), number: true, falls: true },
    { key: "loss", title: "Loss", value: (row) => row.loss, cell: (row) => (row.loss === null ? "–" : row.loss.toFixed(2)), number: true, falls: true },
    { key: "confidence", title: "Confidence", value: (row) => row.confidence, cell: (row) => percent(row.confidence), number: true },
    { key: "harm", title: "Harm", value: (row) => row.harm, number: true },
    { key: "influence", title: "Influence", value: (row) => row.influence, cell: (row) => influence(row.influence), number: true, falls: true },
    { key: "stands", title: "Stands out", value: (row) => row.stands_out / row.of, cell: (row) => `${row.stands_out} of ${row.of}`, number: true, falls: true },
    { key: "decision", title: "Decision", value: (row) => ["drop", "relabel", "look", "keep"].indexOf(row.decision), cell: (row) => decision(row.decision) },
  ].filter(({ key }) => (key !== "id" && key !== "file") || rows.some((row) => row[key] !== null));

  const present = (key) => [...new Set(rows.map((row) => row[key]))].filter((number) => number !== null)
    .sort((a, b) => label(a).localeCompare(label(b), "en", { numeric: true }));

  sortableTable({
    into, rows, columns, details, order: "place", title: titleOf, things: "rows", caption: "Rows, the most doubtful first",
    words: (row) => [row.row, row.id, row.file, label(row.given), label(row.suggested), row.reason, words(sampleOf(row.shown))].filter((part) => part !== null).join("\n"),
    filters: [
      { title: "Given label", value: (row) => row.given, shown: label, options: present("given") },
      { title: "Suggested label", value: (row) => row.suggested, shown: label, options: present("suggested") },
      { title: "Decision", value: (row) => row.decision, options: ["drop", "relabel", "look", "keep"] },
    ],
  });
})();

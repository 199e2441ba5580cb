"use strict";
// Draws the page's figures. Each is a matrix, chosen by the reader from an array
// [*choices, rows, columns]: as lines, one for each row, or as a map of cells. `Figure` of
// figures.py has the fields.

const LABEL_MAX = 22;
const TIP = {
  fill: "var(--raised)", stroke: "var(--line)", fontSize: 12, lineHeight: 1.35, textPadding: 9,
  lineWidth: 30,
};

const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const short = (label) => (label.length > LABEL_MAX ? `${label.slice(0, LABEL_MAX - 1)}…` : label);
const longest = (labels) => Math.min(LABEL_MAX, d3.max(labels, (label) => label.length) ?? 0);
const format = (value) => (value === null ? "not a number" : d3.format(".4~g")(value));

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

class View {
  constructor(figure) {
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.controls = figure.querySelector(".controls");
    this.drawing = figure.querySelector(".drawing");
    this.chosen = this.data.choices.map(() => 0);
    this.shown = this.data.rows.labels.map(() => true);
    this.data.choices.forEach((choice, i) => choice.labels.length > 1 && this.addChoice(choice, i));
    if (this.data.kind === "lines" && this.shown.length > 1) this.addToggles();
    this.width = 0;
    new ResizeObserver(() => this.drawing.clientWidth !== this.width && this.draw()).observe(
      this.drawing,
    );
  }

  addChoice(choice, index) {
    const options = choice.labels.map((label, value) =>
      element("option", { value, textContent: label }));
    const select = element("select", {}, ...options);
    select.addEventListener("change", () => {
      this.chosen[index] = Number(select.value);
      this.draw();
    });
    this.controls.append(element("label", {}, this.name(choice.name), select));
  }

  addToggles() {
    const buttons = this.data.rows.labels.map((label, row) => {
      const button = element("button", { type: "button" }, element("i"), short(label));
      button.style.setProperty("--swatch", this.lineColour(row));
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        this.shown[row] = !this.shown[row];
        button.setAttribute("aria-pressed", String(this.shown[row]));
        this.draw();
      });
      return button;
    });
    this.controls.append(element("fieldset", {}, this.name(this.data.rows.name), ...buttons));
  }

  name(textContent) {
    return element("span", { className: "name", textContent });
  }

  // Which of the matrices is chosen.
  get slice() {
    const { choices } = this.data;
    return choices.reduce((at, choice, i) => at * choice.labels.length + this.chosen[i], 0);
  }

  // Of a list with one entry for all matrices, or one for each.
  chosenOf(list) {
    return list.length === 1 ? list[0] : list[this.slice];
  }

  // [{row, column, value}, ...] of the chosen matrix.
  cells() {
    const { rows, columns, values } = this.data;
    const width = columns.labels.length;
    const begin = this.slice * rows.labels.length * width;
    return d3.range(rows.labels.length * width).map((i) => ({
      row: Math.floor(i / width), column: i % width, value: values[begin + i],
    }));
  }

  lineColour(row) {
    const { labels } = this.data.rows;
    if (labels[row] === "clean") return "var(--clean)";
    if (labels[row] === "edited" || labels.length === 1) return "var(--edited)";
    if (labels.length <= 7) return `var(--line-${row})`;
    return d3.interpolatePlasma(0.15 + (0.7 * row) / (labels.length - 1));
  }

  draw() {
    this.width = this.drawing.clientWidth;
    if (this.width === 0) return;
    const parts = this.data.kind === "lines" ? [this.lines()] : this.map();
    this.drawing.replaceChildren(...parts);
  }

  plot(options) {
    const drawn = Plot.plot({ color: { type: "identity" }, ...options });
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", `${this.data.title}: ${this.chosenOf(this.data.labels)}`);
    return drawn;
  }

  // ---- lines -----------------------------------------------------------------------------------

  lines() {
    const { rows, columns } = this.data;
    const centre = this.chosenOf(this.data.centres);
    const x = (d) => (columns.numbers ? columns.numbers[d.column] : d.column);
    const stroke = (d) => this.lineColour(d.row);
    const points = this.cells().filter((d) => this.shown[d.row] && d.value !== null);
    const isClean = (d) => rows.labels[d.row] === "clean";
    const line = (found, dashes) =>
      Plot.line(found, {
        x, y: "value", z: "row", stroke, strokeWidth: 2, strokeDasharray: dashes,
      });
    const labelSize = longest(columns.labels);
    const turned = !columns.numbers && labelSize > 3;
    return this.plot({
      width: Math.max(this.width, columns.numbers ? 0 : 86 + 13 * columns.labels.length),
      height: 310 + (turned ? 6 * labelSize : 0),
      marginLeft: 62,
      marginTop: 30,
      marginRight: 24,
      marginBottom: turned ? 30 + 6.2 * labelSize : 40,
      x: columns.numbers ? this.scaleOfNumbers() : this.scaleOfPlaces(turned),
      y: { grid: true, nice: true, label: this.chosenOf(this.data.labels), tickFormat: format },
      marks: [
        centre === null ? null : Plot.ruleY([centre], {
          stroke: "var(--clean)", strokeDasharray: "4 4", strokeWidth: 1.5,
        }),
        line(points.filter(isClean), "6 4"),
        line(points.filter((d) => !isClean(d)), null),
        Plot.dot(points, { x, y: "value", fill: stroke, r: 2.8 }),
        ...this.pointer(points, x),
      ],
    });
  }

  // A rule at the column nearest to the mouse, and what all lines are there.
  pointer(points, x) {
    const { rows, columns } = this.data;
    const byColumn = d3.groups(points, (d) => d.column).map(([column, found]) => ({
      column,
      value: found[0].value,
      text: [
        `${columns.name} ${columns.labels[column]}`,
        ...found.map((d) => `${rows.labels[d.row]}  ${format(d.value)}`),
      ].join("\n"),
    }));
    return [
      Plot.ruleX(byColumn, Plot.pointerX({ x, stroke: "var(--faint)" })),
      Plot.tip(byColumn, Plot.pointerX({ x, y: "value", title: "text", ...TIP })),
    ];
  }

  scaleOfPlaces(turned) {
    const { labels, name } = this.data.columns;
    return {
      type: "point", domain: d3.range(labels.length), label: name,
      ticks: d3.range(0, labels.length, Math.max(1, Math.ceil(labels.length / 60))),
      tickFormat: (i) => short(labels[i]), tickRotate: turned ? -60 : 0,
    };
  }

  scaleOfNumbers() {
    const { numbers, name } = this.data.columns;
    const sizes = numbers.map(Math.abs).filter((size) => size > 0);
    const ticks = numbers.length <= 12 ? { ticks: numbers } : {};
    const { scale } = this.data;
    return { type: scale, constant: d3.min(sizes), label: name, tickFormat: format, ...ticks };
  }

  // ---- maps ------------------------------------------------------------------------------------

  map() {
    const { rows, columns } = this.data;
    const cells = this.cells();
    const centre = this.chosenOf(this.data.centres);
    const finite = cells.map((d) => d.value).filter((value) => value !== null);
    const shades = this.shades(finite, centre);
    const labelSize = longest(columns.labels);
    const marginLeft = 34 + 6.6 * longest(rows.labels);
    const marginBottom = labelSize > 3 ? 30 + 6.2 * labelSize : 40;
    const room = (this.width - marginLeft - 12) / columns.labels.length;
    const width = Math.max(columns.labels.length > 100 ? 6 : 17, room);
    const height = rows.labels.length > 64 ? 8 : 22;
    const place = { x: "column", y: "row" };
    const title = (d) => this.describe(d, centre);
    const drawn = this.plot({
      width: marginLeft + 12 + width * columns.labels.length,
      height: 8 + marginBottom + height * rows.labels.length,
      marginLeft, marginBottom, marginTop: 8, marginRight: 12,
      x: { ...this.scaleOfCells(columns, width), tickRotate: labelSize > 3 ? -60 : 0 },
      y: this.scaleOfCells(rows, height),
      marks: [
        Plot.cell(cells, { ...place, fill: (d) => shades.of(d.value), inset: 0.5 }),
        width >= 40 && height >= 16 ? this.numbers(cells, place, shades, width) : null,
        Plot.cell(cells, Plot.pointer({
          ...place, stroke: "currentColor", fill: "none", inset: 0.5, maxRadius: 60,
        })),
        Plot.tip(cells, Plot.pointer({ ...place, title, maxRadius: 60, ...TIP })),
      ],
    });
    return [this.ramp(shades, centre), drawn];
  }

  describe(d, centre) {
    const { rows, columns } = this.data;
    const lines = [
      `${rows.name} ${rows.labels[d.row]}`, `${columns.name} ${columns.labels[d.column]}`,
      format(d.value),
    ];
    if (centre !== null && centre !== 0 && d.value !== null)
      lines.push(`${d3.format("+.4~g")(d.value - centre)} from ${format(centre)}`);
    return lines.join("\n");
  }

  scaleOfCells({ labels, name }, size) {
    return {
      type: "band", padding: 0, domain: d3.range(labels.length), tickSize: 0, label: name,
      ticks: d3.range(0, labels.length, Math.ceil(12 / size)),
      tickFormat: (i) => short(labels[i]),
    };
  }

  // The value in each cell, as exactly as there is room for.
  numbers(cells, place, shades, width) {
    const fits = (written) => 6.4 * written.length <= width - 4;
    const text = (d) => {
      if (d.value === null) return "";
      return [".3~g", ".2~g", ".0e"].map((form) => d3.format(form)(d.value)).find(fits) ?? "";
    };
    const fill = (d) => (d3.lab(shades.of(d.value)).l > 58 ? "#14171c" : "#ffffff");
    return Plot.text(cells, { ...place, text, fill, fontSize: 10.5 });
  }

  // The colour of each value: from one end to the other, or to both sides of a centre.
  shades(values, centre) {
    let [low, high] = this.data.domain ?? d3.extent(values);
    if (centre !== null) {
      const reach = d3.max(values, (value) => Math.abs(value - centre)) || 1;
      [low, high] = [centre - reach, centre + reach];
    }
    const names = centre === null ? ["weak", "halfway", "strong"] : ["low", "middle", "high"];
    const blend = d3.piecewise(d3.interpolateLab, names.map(colour));
    const missing = colour("missing");
    const of = (value) =>
      value === null ? missing : blend(high > low ? (value - low) / (high - low) : 0);
    return { of, blend, low: low ?? null, high: high ?? null };
  }

  ramp({ blend, low, high }, centre) {
    const bar = element("i");
    bar.style.background = `linear-gradient(to right, ${d3.quantize(blend, 11).join(", ")})`;
    const middle = centre === null ? "" : `, ${format(centre)} in the middle`;
    const label = `${this.chosenOf(this.data.labels)}${middle}`;
    const ramp = element("div", { className: "ramp" }, format(low), bar, format(high));
    ramp.append(element("span", { textContent: label }));
    return ramp;
  }
}

const views = [...document.querySelectorAll("figure.plot")].map((figure) => new View(figure));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  views.forEach((view) => view.draw()));

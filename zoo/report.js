"use strict";
(() => {
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const root = document.getElementById("map");
  const svg = root.querySelector("svg");
  const tip = root.querySelector(".tip");
  const legend = root.querySelector(".legend");
  const [view, colour] = root.querySelectorAll("select");
  const palette = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"];
  const viridis = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
  const shapes = [
    "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0", "M-4.5,-4.5h9v9h-9z", "M0,-6L5.5,4h-11z", "M0,6L5.5,-4h-11z",
    "M0,-6L6,0L0,6L-6,0z", "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
  ];
  const width = 760, height = 520, left = 46, bottom = 40;
  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const option = (select, text) => {
    const element = document.createElement("option");
    element.textContent = text;
    select.append(element);
  };
  data.views.forEach((v) => option(view, v.name));
  data.colourings.forEach((c) => option(colour, c.role ? `${c.name} (${c.role})` : c.name));
  view.parentElement.hidden = data.views.length < 2;

  const extent = (values) => {
    const known = values.filter((v) => v !== null);
    const low = Math.min(...known), high = Math.max(...known);
    const margin = (high - low) * 0.05 || 1;
    return [low - margin, high + margin];
  };
  const marks = data.captions.map((_, i) => make("path", { "data-i": i, class: "point", stroke: "white", "stroke-width": 0.8 }));
  let places = [], current = -1, mouse = [];

  function lay() {
    const { x, y, axes } = data.views[Math.max(view.selectedIndex, 0)];
    const [x0, x1] = extent(x), [y0, y1] = extent(y);
    places = x.map((_, i) => [
      left + ((x[i] - x0) / (x1 - x0)) * (width - left - 10),
      10 + ((y1 - y[i]) / (y1 - y0)) * (height - bottom - 10),
    ]);
    svg.replaceChildren(
      make("rect", { x: left, y: 10, width: width - left - 10, height: height - bottom - 10, class: "frame" }),
      make("text", { x: (width + left) / 2, y: height - 12, "text-anchor": "middle" }, axes[0]),
      make("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(18,${(height - bottom) / 2 + 10}) rotate(-90)` }, axes[1]),
      ...marks,
    );
    marks.forEach((mark, i) => mark.setAttribute("transform", `translate(${places[i][0].toFixed(1)},${places[i][1].toFixed(1)})`));
    hide();
  }

  function paint() {
    const chosen = data.colourings[colour.selectedIndex];
    legend.replaceChildren();
    if (!chosen) {
      marks.forEach((mark) => { mark.setAttribute("d", shapes[0]); mark.setAttribute("fill", palette[0]); });
      return;
    }
    const title = document.createElement("strong");
    title.textContent = chosen.name;
    legend.append(title);
    if (chosen.kind === "number") {
      const known = chosen.values.filter((v) => v !== null);
      const low = Math.min(...known), high = Math.max(...known);
      marks.forEach((mark, i) => {
        const v = chosen.values[i];
        mark.setAttribute("d", shapes[0]);
        mark.setAttribute("fill", v === null ? "#cccccc" : shade((v - low) / (high - low || 1)));
      });
      const bar = document.createElement("span");
      bar.className = "bar";
      bar.style.background = `linear-gradient(90deg, ${viridis.join(",")})`;
      legend.append(` ${low} `, bar, ` ${high}`);
      return;
    }
    marks.forEach((mark, i) => {
      const code = chosen.values[i];
      mark.setAttribute("d", shapes[Math.floor(Math.max(code, 0) / palette.length) % shapes.length]);
      mark.setAttribute("fill", code < 0 ? "#cccccc" : palette[code % palette.length]);
    });
    chosen.names.forEach((name, code) => {
      const item = document.createElement("span");
      const sign = make("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" });
      sign.append(make("path", { d: shapes[Math.floor(code / palette.length) % shapes.length], fill: palette[code % palette.length] }));
      item.append(sign, name);
      legend.append(item);
    });
  }

  function shade(share) {
    const at = Math.min(Math.max(share, 0), 1) * (viridis.length - 1);
    const low = Math.floor(at), high = Math.min(low + 1, viridis.length - 1), part = at - low;
    const parse = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
    const [a, b] = [parse(viridis[low]), parse(viridis[high])];
    return `rgb(${a.map((v, k) => Math.round(v + part * (b[k] - v))).join(",")})`;
  }

  function show(i) {
    if (current >= 0) marks[current].classList.remove("on");
    current = i;
    marks[i].classList.add("on");
    svg.append(marks[i]);
    tip.replaceChildren();
    if (data.thumbnails[i]) {
      const image = document.createElement("img");
      image.src = data.thumbnails[i];
      image.alt = "";
      tip.append(image);
    }
    const text = document.createElement("div");
    text.textContent = data.captions[i];
    tip.append(text);
    tip.hidden = false;
    const box = svg.getBoundingClientRect(), around = root.getBoundingClientRect();
    const x = box.left - around.left + (places[i][0] / width) * box.width;
    const y = box.top - around.top + (places[i][1] / height) * box.height;
    tip.style.left = `${Math.max(0, Math.min(x + 14, around.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 14}px`;
  }
  function hide() {
    if (current >= 0) marks[current].classList.remove("on");
    current = -1;
    tip.hidden = true;
  }
  const nearest = (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    let best = -1, least = 18 * 18;
    places.forEach(([a, b], i) => {
      const far = (a - x) ** 2 + (b - y) ** 2;
      if (far < least) { least = far; best = i; }
    });
    return best;
  };
  const follow = (event) => {
    // The page moves under a mouse at rest, as when keys are used.
    const rests = event.type === "pointermove" && event.clientX === mouse[0] && event.clientY === mouse[1];
    mouse = [event.clientX, event.clientY];
    if (rests) return;
    const i = nearest(event);
    if (i < 0) hide(); else if (i !== current) show(i);
  };
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    show((current + step + marks.length) % marks.length);
  });
  view.addEventListener("change", lay);
  colour.addEventListener("change", () => { paint(); hide(); });
  root.hidden = false;
  document.documentElement.classList.add("scripted");
  lay();
  paint();

  // What is folded away on screen belongs on paper.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.raw)")];
    opened.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((d) => { d.open = false; }));
})();

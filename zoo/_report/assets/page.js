"use strict";
(() => {
  document.documentElement.classList.add("scripted");

  // A link to something folded away unfolds it.
  const unfold = () => {
    let element = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (; element; element = element.parentElement) if (element.tagName === "DETAILS") element.open = true;
  };
  addEventListener("hashchange", unfold);
  document.querySelectorAll("nav a").forEach((link) => link.addEventListener("click", () => setTimeout(unfold)));
  unfold();

  // On a small screen the contents would push the verdict away.
  const contents = document.querySelector("nav > details");
  const wide = matchMedia("(min-width: 76rem)");
  const fold = () => { contents.open = wide.matches; };
  wide.addEventListener("change", fold);
  fold();

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  if ("IntersectionObserver" in window) {
    const seen = new Set();
    const watch = new IntersectionObserver((entries) => {
      entries.forEach((e) => (e.isIntersecting ? seen.add(e.target.id) : seen.delete(e.target.id)));
      const here = [...links.keys()].filter((id) => seen.has(id)).pop();
      links.forEach((a, id) => a.classList.toggle("here", id === here));
    }, { rootMargin: "-5% 0px -80% 0px" });
    links.forEach((_, id) => { const target = document.getElementById(id); if (target) watch.observe(target); });
  }

  // What is folded away on screen belongs on paper.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.raw)")];
    opened.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((d) => { d.open = false; }));

  const held = document.getElementById("map-data");
  if (!held) return;
  const data = JSON.parse(held.textContent);
  const root = document.getElementById("map");
  const field = root.querySelector(".field");
  const svg = field.querySelector("svg");
  const tip = root.querySelector(".tip");
  const key = root.querySelector(".key");
  const views = root.querySelector(".views");
  const colour = root.querySelector("select");
  const left = 30, below = 30;
  let width = 0, height = 0, places = [], current = -1, mouse = [], keyed = false, view = 0, alone = -1;

  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [k, v] of Object.entries(attributes)) element.setAttribute(k, v);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const build = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  const size = data.rows.length > 800 ? 0.65 : data.rows.length > 300 ? 0.8 : 1;
  const marks = data.rows.map((_, i) => make("path", { "data-i": i, class: "point" }));
  data.views.forEach((v, k) => {
    const button = build("button", v.name);
    button.type = "button";
    button.addEventListener("click", () => { view = k; lay(); });
    views.append(button);
  });
  views.hidden = data.views.length < 2;
  data.colourings.forEach((c) => colour.append(build("option", c.role ? `${c.name} (${c.role})` : c.name)));
  colour.parentElement.hidden = data.colourings.length < 1;

  const extent = (values) => {
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    const margin = (high - low) * 0.04 || 1;
    return [low - margin, high + margin];
  };

  function lay() {
    width = Math.max(field.clientWidth, 200);
    height = Math.round(Math.min(560, Math.max(300, width * 0.68)));
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    [...views.querySelectorAll("button")].forEach((b, k) => b.setAttribute("aria-pressed", k === view));
    const { x, y, axes } = data.views[view];
    const [x0, x1] = extent(x), [y0, y1] = extent(y);
    const across = width - left - 2, up = height - below - 2;
    places = x.map((_, i) => [left + ((x[i] - x0) / (x1 - x0)) * across, 1 + ((y1 - y[i]) / (y1 - y0)) * up]);
    svg.replaceChildren(
      make("rect", { x: left, y: 1, width: across, height: up, rx: 4, class: "frame" }),
      make("text", { x: left + across / 2, y: height - 8 }, axes[0]),
      make("text", { transform: `translate(16,${up / 2}) rotate(-90)` }, axes[1]),
      ...marks,
    );
    marks.forEach((mark, i) => {
      const [a, b] = places[i];
      mark.setAttribute("transform", `translate(${a.toFixed(1)},${b.toFixed(1)}) scale(${size})`);
    });
    hide();
  }

  const brief = (v) => String(Number(v.toPrecision(3)));

  function paint() {
    const chosen = data.colourings[colour.selectedIndex];
    alone = -1;
    key.replaceChildren();
    marks.forEach((mark) => mark.classList.remove("dim"));
    if (!chosen) {
      marks.forEach((mark) => { mark.setAttribute("d", data.shapes[0]); mark.setAttribute("fill", data.plain); });
      return;
    }
    key.append(build("strong", chosen.name));
    if (chosen.kind === "number") {
      const known = chosen.values.filter((v) => v !== null);
      const low = known.reduce((a, b) => Math.min(a, b)), high = known.reduce((a, b) => Math.max(a, b));
      marks.forEach((mark, i) => {
        const v = chosen.values[i];
        mark.setAttribute("d", data.shapes[0]);
        mark.setAttribute("fill", v === null ? data.unknown : shade((v - low) / (high - low || 1)));
      });
      const scale = build("div", undefined, "scale");
      const ramp = build("i", undefined, "ramp");
      const upright = !matchMedia("(max-width: 44rem)").matches;
      ramp.style.background = `linear-gradient(${upright ? 0 : 90}deg,${data.viridis.join(",")})`;
      scale.append(ramp, build("span", brief(high)), build("span", brief((low + high) / 2)), build("span", brief(low)));
      key.append(scale);
      if (known.length < chosen.values.length) key.append(build("div", "grey: not known", "note"));
      return;
    }
    marks.forEach((mark, i) => {
      const [shape, fill] = chosen.looks[chosen.values[i]] || [0, data.unknown];
      mark.setAttribute("d", data.shapes[shape]);
      mark.setAttribute("fill", fill);
    });
    chosen.names.forEach((name, code) => {
      const item = build("button");
      item.type = "button";
      item.setAttribute("aria-pressed", "false");
      const [shape, fill] = chosen.looks[code];
      const sign = make("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" });
      sign.append(make("path", { d: data.shapes[shape], fill }));
      item.append(sign, build("span", name));
      item.addEventListener("click", () => {
        alone = alone === code ? -1 : code;
        key.querySelectorAll("button").forEach((b, k) => b.setAttribute("aria-pressed", k === alone));
        marks.forEach((mark, i) => {
          mark.classList.toggle("dim", alone >= 0 && chosen.values[i] !== alone);
          if (chosen.values[i] === alone) svg.append(mark);
        });
      });
      key.append(item);
    });
    if (chosen.values.some((v) => v < 0)) key.append(build("div", "grey: not known", "note"));
  }

  function shade(share) {
    const at = Math.min(Math.max(share, 0), 1) * (data.viridis.length - 1);
    const low = Math.min(Math.floor(at), data.viridis.length - 2), part = at - low;
    const parse = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
    const [a, b] = [parse(data.viridis[low]), parse(data.viridis[low + 1])];
    return `rgb(${a.map((v, k) => Math.round(v + part * (b[k] - v))).join(",")})`;
  }

  function show(i) {
    if (current >= 0) marks[current].classList.remove("on");
    current = i;
    marks[i].classList.add("on");
    svg.append(marks[i]);
    tip.replaceChildren();
    if (data.thumbnails[i]) {
      const image = build("img");
      image.src = data.thumbnails[i];
      image.alt = "";
      // Its height is known before it is decoded, so that the box is placed rightly at once.
      image.width = 96;
      image.addEventListener("load", settle, { once: true });
      tip.append(image);
    }
    const chosen = data.colourings[colour.selectedIndex];
    const list = build("dl");
    const order = data.columns.map((_, k) => k);
    const first = chosen ? data.columns.indexOf(chosen.name) : -1;
    if (first > 0) order.unshift(...order.splice(first, 1));
    order.forEach((k) => {
      const mine = k === first ? "first" : "";
      list.append(build("dt", data.columns[k], mine), build("dd", data.rows[i][k], mine));
    });
    tip.append(list);
    tip.hidden = false;
    settle();
  }
  function settle() {
    if (current < 0) return;
    const box = svg.getBoundingClientRect();
    const [x, y] = [(places[current][0] / width) * box.width, (places[current][1] / height) * box.height];
    const [w, h] = [tip.offsetWidth, tip.offsetHeight];
    const beside = x + 16 + w <= box.width ? x + 16 : x - 16 - w;
    tip.style.left = `${Math.max(0, Math.min(beside, box.width - w))}px`;
    // Beside the point where there is room, or else below it, so that it is never covered.
    const fits = beside >= 0;
    tip.style.top = `${fits ? Math.max(-40, Math.min(y - h / 3, box.height - h + 40)) : y + 16}px`;
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
    const reach = event.pointerType === "touch" ? 28 : 18;
    let best = -1, least = reach * reach;
    places.forEach(([a, b], i) => {
      if (alone >= 0 && marks[i].classList.contains("dim")) return;
      const far = (a - x) ** 2 + (b - y) ** 2;
      if (far < least) { least = far; best = i; }
    });
    return best;
  };
  const follow = (event) => {
    // The page moves under a mouse at rest, as when keys are used.
    const rests = event.type === "pointermove" && event.clientX === mouse[0] && event.clientY === mouse[1];
    mouse = [event.clientX, event.clientY];
    if (rests || (event.type === "pointermove" && event.pointerType === "touch")) return;
    keyed = false;
    const i = nearest(event);
    if (i < 0) hide(); else if (i !== current) show(i);
  };
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch" && !keyed) hide(); });
  document.addEventListener("pointerdown", (event) => { if (!root.contains(event.target)) hide(); });
  svg.addEventListener("blur", () => { if (keyed) hide(); });
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const [step, axis] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [1, 1], ArrowUp: [-1, 1] }[event.key] || [0, 0];
    if (!step) return;
    event.preventDefault();
    keyed = true;
    // Left and right, up and down, to the next item that lies so.
    const order = marks.map((_, i) => i).sort((a, b) => places[a][axis] - places[b][axis] || a - b);
    const at = current < 0 ? (step > 0 ? -1 : 0) : order.indexOf(current);
    show(order[(at + step + order.length) % order.length]);
  });
  colour.addEventListener("change", () => { paint(); hide(); });

  root.hidden = false;
  lay();
  paint();
  let last = field.clientWidth;
  new ResizeObserver(() => {
    if (field.clientWidth && field.clientWidth !== last) { last = field.clientWidth; lay(); paint(); }
  }).observe(field);
})();

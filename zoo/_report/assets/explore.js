(() => {
  // ------------------------------------------------------------------ state
  const colours = new Uint32Array(count);   // 0xAABBGGRR, as canvases store them
  const pale = new Uint32Array(count);
  const selected = new Uint8Array(count);
  const px = new Float32Array(count), py = new Float32Array(count);  // places in device pixels
  const order = shuffled(count);            // so that no category lies on top because of its rows
  let view = views[0], column = null, only = -1, picked = -1, marked = 0;
  let zoom = 1, cx = 0, cy = 0;             // magnification, and what is in the middle
  let mode = "pan", queued = false;
  const points = $("points"), over = $("over");
  const pen = points.getContext("2d", { alpha: false }), top2d = over.getContext("2d");
  let width = 0, height = 0, ratio = 1, image = null, pixels = null;

  // ------------------------------------------------------------------ drawing
  // A disc as offsets from its middle, and how much of each pixel it covers, of 256.
  function disc(radius) {
    const found = [], reach = Math.ceil(radius);
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(x, y)));
        // What is nearly covered is not mixed, which takes longer.
        const share = cover > 0.85 ? 256 : Math.round(256 * cover);
        if (share > 8) found.push([y * width + x, share]);
      }
    }
    return found;
  }
  function radius() {
    const start = count > 30000 ? 1.4 : count > 4000 ? 2.1 : 3.4;
    return Math.min(start * Math.pow(zoom, 0.3), 7) * ratio;
  }
  function places() {
    const scale = zoom * Math.min(width, height) * 0.92, x0 = width / 2, y0 = height / 2;
    const x = view.x, y = view.y;
    for (let i = 0; i < count; i++) {
      px[i] = x0 + (x[i] - cx) * scale;
      py[i] = y0 - (y[i] - cy) * scale;
    }
  }
  const lit = (i) => (!marked || selected[i] === 1) && (only < 0 || column.codes[i] === only);
  function draw() {
    queued = false;
    if (!image) return;
    places();
    pixels.fill(0xffffffff);
    const size = radius(), edge = Math.ceil(size) + 1, stamp = disc(size);
    const full = Int32Array.from(stamp.filter((s) => s[1] === 256), (s) => s[0]);
    const rim = stamp.filter((s) => s[1] < 256);
    const offsets = Int32Array.from(rim, (s) => s[0]), covers = Int32Array.from(rim, (s) => s[1]);
    const all = !marked && only < 0, right = width - edge, bottom = height - edge;
    for (let pass = all ? 1 : 0; pass < 2; pass++) {
      const shades = pass ? colours : pale;
      for (let k = 0; k < count; k++) {
        const i = order[k], x = (px[i] + 0.5) | 0, y = (py[i] + 0.5) | 0;
        if (x < edge || y < edge || x >= right || y >= bottom) continue;
        if (!all && lit(i) !== (pass === 1)) continue;
        const c = shades[i], middle = y * width + x;
        for (let s = 0; s < full.length; s++) pixels[middle + full[s]] = c;
        for (let s = 0; s < offsets.length; s++) {
          const at = middle + offsets[s], a = covers[s], rest = 256 - a, b = pixels[at];
          const rb = (((c & 0xff00ff) * a + (b & 0xff00ff) * rest) >>> 8) & 0xff00ff;
          const g = (((c >>> 8) & 255) * a + ((b >>> 8) & 255) * rest) & 0xff00;
          pixels[at] = (0xff000000 | rb | g) >>> 0;
        }
      }
    }
    pen.putImageData(image, 0, 0);
    ring();
  }
  function redraw() {
    if (!queued) { queued = true; requestAnimationFrame(draw); }
  }
  function ring(path) {
    top2d.clearRect(0, 0, width, height);
    const near = picked >= 0 && neighbours ? nearest(picked) : [];
    top2d.lineWidth = 1.5 * ratio;
    for (const [i, colour, grow] of [...near.map((i) => [i, "#1b2027", 2]), ...(picked < 0 ? [] : [[picked, "#d00000", 4]])]) {
      top2d.strokeStyle = colour;
      top2d.beginPath();
      top2d.arc(px[i], py[i], radius() + grow * ratio, 0, 2 * Math.PI);
      top2d.stroke();
    }
    if (path && path.length > 1) {
      top2d.beginPath();
      path.forEach(([x, y], k) => (k ? top2d.lineTo(x, y) : top2d.moveTo(x, y)));
      top2d.closePath();
      top2d.fillStyle = "rgb(0 114 178 / .12)"; top2d.fill();
      top2d.strokeStyle = "#0072b2"; top2d.stroke();
    }
  }
  function resize() {
    const box = over.getBoundingClientRect();
    ratio = Math.min(window.devicePixelRatio || 1, 2);
    width = Math.max(1, Math.round(box.width * ratio)); height = Math.max(1, Math.round(box.height * ratio));
    for (const canvas of [points, over]) { canvas.width = width; canvas.height = height; }
    image = pen.createImageData(width, height);
    pixels = new Uint32Array(image.data.buffer);
    draw();
  }

  // ------------------------------------------------------------------ colours
  function paint() {
    column = columns[$("colour").value] ?? null;
    only = -1;
    const legend = $("legend");
    legend.replaceChildren();
    if (!column) {
      colours.fill(packed(data.plain));
    } else if (column.kind === "category") {
      const looks = column.names.map((_, k) => data.colours[column.looks[k]] ?? data.unknown);
      const table = looks.map(packed), missing = packed(data.unknown);
      for (let i = 0; i < count; i++) colours[i] = table[column.codes[i]] ?? missing;
      const shown = column.names.map((_, k) => k).filter((k) => column.looks[k] >= 0);
      for (const k of shown) legend.append(key(column.names[k], looks[k], k));
      const rest = column.names.length - shown.length;
      if (rest) legend.append(text("span", `and ${rest} more, grey`));
    } else {
      const { low, high } = column;
      const steps = Array.from({ length: 256 }, (_, k) => packed(ramp(k / 255)));
      for (let i = 0; i < count; i++) {
        const v = column.values[i];
        colours[i] = Number.isNaN(v) ? packed(data.unknown)
          : steps[Math.max(0, Math.min(255, Math.round((255 * (v - low)) / (high - low || 1))))];
      }
      const bar = text("div", "");
      bar.className = "ramp";
      bar.style.background = `linear-gradient(90deg, ${data.viridis.join(",")})`;
      const [least, most] = [low, high].map((v) => String(+v.toPrecision(4)));
      legend.append(text("span", (column.below ? "≤ " : "") + least), bar, text("span", (column.above ? "≥ " : "") + most));
    }
    for (let i = 0; i < count; i++) pale[i] = lighter(colours[i]);
    redraw();
  }
  function key(name, colour, code) {
    const button = document.createElement("button"), dot = document.createElement("i");
    dot.style.background = colour;
    button.append(dot, name);
    button.setAttribute("aria-pressed", "false");
    button.title = "Show these alone";
    button.onclick = () => {
      only = only === code ? -1 : code;
      for (const other of $("legend").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(only === code));
      redraw();
    };
    return button;
  }
  function text(kind, content) {
    const made = document.createElement(kind);
    made.textContent = content;
    return made;
  }

  // ------------------------------------------------------------------ one item
  function nearest(i) {
    return Array.from(neighbours.items.subarray(i * neighbours.k, (i + 1) * neighbours.k));
  }
  function picture(i, side) {
    const box = document.createElement("div");
    box.className = "picture";
    box.style.width = box.style.height = `${side}px`;
    const place = pictures.place[i];
    if (place < 0) {
      box.classList.add("none");
      box.textContent = "no picture";
      return box;
    }
    const sheet = Math.floor(place / pictures.per_sheet), within = place % pictures.per_sheet;
    const scale = side / pictures.side;
    const x = within % pictures.across, y = Math.floor(within / pictures.across);
    const rows = Math.ceil(pictures.per_sheet / pictures.across);
    box.style.backgroundImage = `url(${pictures.sheets[sheet]})`;
    box.style.backgroundSize = `${pictures.across * pictures.side * scale}px ${rows * pictures.side * scale}px`;
    box.style.backgroundPosition = `${-x * side}px ${-y * side}px`;
    return box;
  }
  function about(i) {
    const list = document.createElement("dl");
    for (const c of columns) {
      const found = brief(c, i);
      if (found === "") continue;
      const line = document.createElement("div");
      line.append(text("dt", c.name), text("dd", found));
      list.append(line);
    }
    return list;
  }
  function pick(i) {
    picked = i;
    const panel = $("item"), shown = document.createElement("div");
    panel.replaceChildren(text("h2", `Item ${i + 1} of ${count.toLocaleString("en")}`), shown);
    shown.className = "shown";
    if (pictures) shown.append(picture(i, 128));
    shown.append(about(i));
    if (neighbours) {
      const title = text("h3", "Nearest neighbours ");
      title.append(text("small", neighbours.how));
      const grid = document.createElement("div");
      grid.className = pictures ? "near" : "near words";
      for (const j of nearest(i)) {
        const button = document.createElement("button");
        button.dataset.item = j;
        if (pictures) button.append(picture(j, 84));
        button.append(text("span", column ? brief(column, j) : `item ${j + 1}`));
        button.title = columns.slice(0, 6).map((c) => `${c.name}: ${brief(c, j)}`).join("\n");
        button.onclick = () => pick(j);
        grid.append(button);
      }
      panel.append(title, grid);
    }
    ring();
  }
  function under(x, y) {
    let best = -1, least = Math.pow(radius() + 5 * ratio, 2);
    for (let i = 0; i < count; i++) {
      const d = (px[i] - x) ** 2 + (py[i] - y) ** 2;
      if (d < least && lit(i)) { least = d; best = i; }
    }
    return best;
  }
  function hover(x, y) {
    const i = under(x, y), tip = $("tip");
    tip.hidden = i < 0;
    if (i < 0) return;
    const words = document.createElement("div");
    const first = columns.slice(0, 5).filter((c) => c !== column);
    for (const c of column ? [column, ...first] : first) {
      if (brief(c, i) !== "") words.append(text("div", `${c.name}: ${brief(c, i)}`));
    }
    tip.replaceChildren(...(pictures && pictures.place[i] >= 0 ? [picture(i, 72)] : []), words);
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(x / ratio + 14, width / ratio - box.width - 4)}px`;
    tip.style.top = `${Math.min(y / ratio + 14, height / ratio - box.height - 4)}px`;
  }

  // ------------------------------------------------------------------ a selection
  function inside(x, y, path) {
    let found = false;
    for (let a = 0, b = path.length - 1; a < path.length; b = a++) {
      const [x1, y1] = path[a], [x2, y2] = path[b];
      if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) found = !found;
    }
    return found;
  }
  function select(path) {
    let left = Infinity, right = -Infinity, low = Infinity, high = -Infinity;
    for (const [x, y] of path) {
      left = Math.min(left, x); right = Math.max(right, x); low = Math.min(low, y); high = Math.max(high, y);
    }
    marked = 0;
    for (let i = 0; i < count; i++) {
      const x = px[i], y = py[i], may = x >= left && x <= right && y >= low && y <= high;
      selected[i] = may && (only < 0 || column.codes[i] === only) && inside(x, y, path) ? 1 : 0;
      marked += selected[i];
    }
    list();
    redraw();
  }
  function chosen() {
    const found = [];
    for (let i = 0; i < count; i++) if (selected[i]) found.push(i);
    return found;
  }
  function list() {
    const panel = $("chosen");
    panel.replaceChildren(text("h2", "Selection"));
    if (!marked) {
      panel.append(text("p", "Choose Lasso, or hold Shift, and draw around points."));
      panel.lastChild.className = "hint";
      return;
    }
    const items = chosen(), actions = document.createElement("div");
    panel.append(text("p", `${marked.toLocaleString("en")} of ${count.toLocaleString("en")} items`), actions);
    actions.className = "actions";
    const save = text("button", "Download CSV"), clear = text("button", "Clear");
    save.id = "save";
    save.onclick = () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(items)], { type: "text/csv" }));
      link.download = "selection.csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    };
    clear.onclick = () => { selected.fill(0); marked = 0; list(); redraw(); };
    actions.append(save, clear);
    const rows = document.createElement("div"), table = document.createElement("table");
    rows.className = "rows";
    const head = table.createTHead().insertRow(), body = table.createTBody();
    for (const c of columns) head.append(text("th", c.name));
    for (const i of items.slice(0, 200)) {
      const row = body.insertRow();
      for (const c of columns) row.append(text("td", brief(c, i)));
      row.onclick = () => pick(i);
    }
    rows.append(table);
    panel.append(rows);
    if (items.length > 200) panel.append(text("p", "The first 200 are shown; the CSV has all."));
  }
  // ------------------------------------------------------------------ mouse
  let start = null, path = null, moved = false;
  const at = (e) => {
    const box = over.getBoundingClientRect();
    return [(e.clientX - box.left) * (width / box.width), (e.clientY - box.top) * (height / box.height)];
  };
  over.onpointerdown = (e) => {
    if (e.button) return;
    over.setPointerCapture(e.pointerId);
    start = at(e); moved = false;
    path = mode === "lasso" || e.shiftKey ? [start] : null;
    $("tip").hidden = true;
  };
  over.onpointermove = (e) => {
    const [x, y] = at(e);
    if (!start) { hover(x, y); return; }
    const [dx, dy] = [x - start[0], y - start[1]];
    if (!moved && Math.hypot(dx, dy) < 4 * ratio) return;
    moved = true;
    if (path) {
      const every = e.getCoalescedEvents?.() ?? [];
      for (const [u, v] of (every.length ? every : [e]).map(at)) {
        const last = path[path.length - 1];
        if (Math.hypot(u - last[0], v - last[1]) > 3 * ratio) path.push([u, v]);
      }
      ring(path);
      return;
    }
    over.classList.add("moving");
    const scale = zoom * Math.min(width, height) * 0.92;
    cx -= dx / scale; cy += dy / scale;
    start = [x, y];
    redraw();
  };
  over.onpointerup = (e) => {
    if (!start) return;
    const [x, y] = at(e);
    over.classList.remove("moving");
    if (path && moved && path.length > 2) select(path);
    else if (!moved) { const i = under(x, y); if (i >= 0) pick(i); }
    start = path = null;
  };
  over.onpointerleave = () => { $("tip").hidden = true; };
  over.addEventListener("wheel", (e) => {
    e.preventDefault();
    const [x, y] = at(e), before = zoom * Math.min(width, height) * 0.92;
    zoom = Math.min(400, Math.max(0.5, zoom * Math.exp(-e.deltaY * 0.0016)));
    const after = zoom * Math.min(width, height) * 0.92, dx = x - width / 2, dy = y - height / 2;
    cx += dx / before - dx / after; cy -= dy / before - dy / after;
    $("tip").hidden = true;
    redraw();
  }, { passive: false });
  function whole() { zoom = 1; cx = cy = 0; redraw(); }
  over.ondblclick = whole;
  $("reset").onclick = whole;
  function drag(next) {
    mode = next;
    $("pan").setAttribute("aria-pressed", String(next === "pan"));
    $("lasso").setAttribute("aria-pressed", String(next === "lasso"));
    over.classList.toggle("drawing", next === "lasso");
  }
  $("pan").onclick = () => drag("pan");
  $("lasso").onclick = () => drag("lasso");

  // ------------------------------------------------------------------ start
  views.forEach((v, k) => $("view").append(new Option(v.name, k)));
  $("view").onchange = () => {
    view = views[$("view").value];
    $("axes").textContent = view.axes;
    whole();
  };
  $("colour").append(new Option("nothing", -1));
  columns.forEach((c, k) => { if (c.kind !== "text") $("colour").append(new Option(c.name, k)); });
  $("colour").value = data.colour_by;
  $("colour").onchange = () => { paint(); if (picked >= 0) pick(picked); };
  $("axes").textContent = view.axes;
  paint();
  new ResizeObserver(resize).observe(points.parentElement);
  resize();
  // For tests and for scripts of users.
  window.explorer = {
    pick, nearest, chosen, draw, count, csv,
    place: (i) => {
      const box = over.getBoundingClientRect();
      return [box.left + px[i] * (box.width / width), box.top + py[i] * (box.height / height)];
    },
    look: (z, x, y) => { zoom = z; cx = x; cy = y; },
    colour: (i) => colours[i],
  };
})();

// One slide on the screen: its tiles, what lies over them, the scale, and picking patches and regions.

import { SlideTiles } from "./tiles.js";

const OBJECTIVES_UM = 10;

export class Pane {
  /**
   * @param {HTMLElement} host with .viewer and .scale inside
   * @param {object} on pick(pane, index), region(pane, polygon), fault(error)
   */
  constructor(host, on) {
    Object.assign(this, { host, on, slide: null, picture: null, marks: [], region: null, drawn: null });
    this.isDrawing = false;
    this.viewer = OpenSeadragon({
      element: host.querySelector(".viewer"),
      drawer: "canvas",
      showNavigationControl: false,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.4,
      maxZoomPixelRatio: 4,
      minZoomImageRatio: 0.6,
      visibilityRatio: 0.2,
      imageLoaderLimit: 6,
      maxImageCacheCount: 400,
    });
    this.canvas = document.createElement("canvas");
    this.canvas.className = "overlay";
    this.viewer.canvas.append(this.canvas);
    this.viewer.canvas.setAttribute("role", "application");
    this.viewer.canvas.setAttribute("aria-roledescription", "slide");
    this.viewer.canvas.setAttribute("aria-describedby", "keys");
    this.label("No slide is open");
    for (const name of ["update-viewport", "resize", "animation", "open"]) {
      this.viewer.addHandler(name, () => this.draw());
    }
    this.#listen();
  }

  label(text) {
    this.viewer.canvas.setAttribute("aria-label", text);
    this.host.querySelector(".name").textContent = text;
  }

  /** Shows a slide; resolves when it is drawn for the first time. */
  show(slide) {
    Object.assign(this, { slide, picture: null, marks: [], region: null, drawn: null });
    this.label(slide.name);
    return new Promise((resolve) => {
      this.viewer.addOnceHandler("tile-drawn", resolve);
      this.viewer.addOnceHandler("open", () => this.viewer.viewport.goHome(true));
      this.viewer.open(new SlideTiles(slide, (error) => this.on.fault(error)));
    });
  }

  /** Where a pixel of level 0 is on the canvas, in device pixels. */
  toCanvas({ x, y }) {
    const { viewport } = this.viewer;
    const point = new OpenSeadragon.Point(x / this.slide.width, y / this.slide.width);
    const found = viewport.pixelFromPoint(point, true);
    return { x: found.x * this.ratio, y: found.y * this.ratio };
  }

  /** Which pixel of level 0 is at a place of the viewer, in CSS pixels. */
  toSlide(place) {
    const found = this.viewer.viewport.pointFromPixel(place, true);
    return { x: found.x * this.slide.width, y: found.y * this.slide.width };
  }

  get ratio() {
    return window.devicePixelRatio || 1;
  }

  /** Goes to a patch. */
  goTo(index) {
    const { x, y, width } = this.slide.grid.square(index);
    const size = (width * 6) / this.slide.width;
    const middle = (width / 2) / this.slide.width;
    const left = x / this.slide.width + middle - size / 2;
    const top = y / this.slide.width + middle - size / 2;
    this.viewer.viewport.fitBounds(new OpenSeadragon.Rect(left, top, size, size));
    this.viewer.canvas.focus({ preventScroll: true });
  }

  /** The part of the slide that is in view, as a polygon of pixels of level 0. */
  inView() {
    const { clientWidth: right, clientHeight: bottom } = this.viewer.canvas;
    const corners = [[0, 0], [right, 0], [right, bottom], [0, bottom]];
    return corners.map(([x, y]) => this.toSlide(new OpenSeadragon.Point(x, y)));
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.viewer.canvas;
    const [wide, high] = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      Object.assign(this.canvas, { width: wide, height: high });
    }
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, wide, high);
    if (!this.slide || !this.viewer.world.getItemCount()) return;
    if (this.picture) this.#drawPicture(context);
    this.marks.forEach((mark) => this.#drawMark(context, mark));
    const region = this.drawn ?? this.region;
    if (region) this.#drawRegion(context, region);
    this.#drawScale();
  }

  #drawPicture(context) {
    const { grid } = this.slide;
    const across = grid.columns * grid.side * grid.scaleX;
    const down = grid.rows * grid.side * grid.scaleY;
    const first = this.toCanvas({ x: 0, y: 0 });
    const last = this.toCanvas({ x: across, y: down });
    context.imageSmoothingEnabled = false;
    context.drawImage(this.picture, first.x, first.y, last.x - first.x, last.y - first.y);
  }

  #drawMark(context, { index, kind, text }) {
    const { x, y, width, height } = this.slide.grid.square(index);
    const first = this.toCanvas({ x, y });
    const last = this.toCanvas({ x: x + width, y: y + height });
    const least = 6 * this.ratio;
    const size = [Math.max(least, last.x - first.x), Math.max(least, last.y - first.y)];
    // Two lines, dark and light: seen on any slide.
    for (const [colour, line] of [["#000", 5], [kind === "query" ? "#fff" : "#ffe600", 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = line * this.ratio;
      context.setLineDash(kind === "failed" ? [4 * this.ratio, 4 * this.ratio] : []);
      context.strokeRect(first.x, first.y, ...size);
    }
    context.setLineDash([]);
    if (text && size[0] > 18 * this.ratio) {
      context.font = `${12 * this.ratio}px system-ui, sans-serif`;
      context.lineWidth = 3 * this.ratio;
      context.strokeStyle = "#000";
      context.fillStyle = "#fff";
      context.strokeText(text, first.x + 4 * this.ratio, first.y + 14 * this.ratio);
      context.fillText(text, first.x + 4 * this.ratio, first.y + 14 * this.ratio);
    }
  }

  #drawRegion(context, region) {
    context.beginPath();
    region.forEach((point, i) => {
      const { x, y } = this.toCanvas(point);
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.closePath();
    for (const [colour, line] of [["#000", 5], ["#fff", 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = line * this.ratio;
      context.stroke();
    }
  }

  /** A bar of a round length in µm, and the magnification that the screen comes to. */
  #drawScale() {
    const place = this.host.querySelector(".scale");
    const { mpp } = this.slide;
    place.hidden = false;
    const zoom = this.viewer.viewport.viewportToImageZoom(this.viewer.viewport.getZoom(true));
    const bar = place.querySelector(".bar");
    bar.hidden = !mpp;
    if (!mpp) {
      place.querySelector(".length").textContent = `${(zoom * 100).toPrecision(3)} % of its pixels`;
      return;
    }
    const um = mpp[0] / zoom;
    const length = roundBelow(150 * um);
    bar.style.width = `${length / um}px`;
    const text = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
    place.querySelector(".length").textContent = `${text} · ${(OBJECTIVES_UM / um).toPrecision(2)}×`;
  }

  #listen() {
    const { viewer } = this;
    viewer.addHandler("canvas-click", (event) => {
      if (!event.quick || this.isDrawing || !this.slide) return;
      this.#pick(event.position);
    });
    viewer.addHandler("canvas-key", (event) => {
      const { key } = event.originalEvent;
      if (key === "Enter" || key === " ") {
        event.preventDefaultAction = true;
        event.originalEvent.preventDefault();
        const { clientWidth, clientHeight } = viewer.canvas;
        if (this.slide) this.#pick(new OpenSeadragon.Point(clientWidth / 2, clientHeight / 2));
      }
      // A turned or mirrored slide would no longer lie under its map.
      if (["r", "R", "f", "F"].includes(key)) event.preventDefaultAction = true;
    });
    viewer.addHandler("canvas-press", (event) => {
      if (this.isDrawing && this.slide) this.drawn = [this.toSlide(event.position)];
    });
    viewer.addHandler("canvas-drag", (event) => {
      if (!this.drawn) return;
      event.preventDefaultAction = true;
      this.drawn.push(this.toSlide(event.position));
      this.draw();
    });
    viewer.addHandler("canvas-release", () => {
      if (!this.drawn) return;
      const polygon = this.drawn;
      this.stopDrawing();
      if (polygon.length > 2) this.on.region(this, polygon);
    });
  }

  startDrawing() {
    this.isDrawing = true;
    this.host.classList.add("drawing");
  }

  stopDrawing() {
    this.isDrawing = false;
    this.drawn = null;
    this.host.classList.remove("drawing");
  }

  #pick(place) {
    const { x, y } = this.toSlide(place);
    const index = this.slide.grid.at(x, y);
    if (index >= 0) this.on.pick(this, index);
  }
}

/** Returns the largest of 1, 2, 5, 10, 20, 50, … that is not above a number. */
export function roundBelow(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  const first = number / power;
  return power * (first >= 5 ? 5 : first >= 2 ? 2 : 1);
}

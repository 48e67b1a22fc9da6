// A slide's own levels as OpenSeadragon draws them, at the scales that they have.

export class SlideTiles extends OpenSeadragon.TileSource {
  constructor(slide, onFault) {
    const last = slide.levels.length - 1;
    super({
      width: slide.width,
      height: slide.height,
      tileWidth: slide.levels[0].tile_width,
      tileHeight: slide.levels[0].tile_height,
      minLevel: 0,
      maxLevel: last,
    });
    this.slide = slide;
    this.onFault = onFault;
    // OpenSeadragon counts from the smallest; it may have put methods of its own in place of these.
    const at = (level) => slide.levels[last - level];
    this.getLevelScale = (level) => at(level).width / slide.width;
    this.getTileWidth = (level) => at(level).tile_width;
    this.getTileHeight = (level) => at(level).tile_height;
    this.getNumTiles = (level) => {
      const { width, height, tile_width: across, tile_height: down } = at(level);
      return new OpenSeadragon.Point(Math.ceil(width / across), Math.ceil(height / down));
    };
    this.getTileUrl = (level, column, row) => `${last - level}/${column}/${row}`;
  }

  getTileHashKey(level, column, row) {
    return `${this.slide.name}/${level}/${column}/${row}`;
  }

  getTilePostData() {
    return null;
  }

  async downloadTileStart(job) {
    const abort = new AbortController();
    job.userData.abort = abort;
    const [level, column, row] = job.src.split("/").map(Number);
    try {
      const bitmap = await this.slide.tile(level, column, row, abort.signal);
      job.finish(this.#inside(bitmap, level, column, row), null, "context2d");
    } catch (error) {
      if (error.name === "AbortError") return;
      job.fail(error.code ?? String(error), null);
      this.onFault(error);
    }
  }

  downloadTileAbort(job) {
    job.userData.abort?.abort();
  }

  /** The last tiles of a row and of a column reach beyond the level, and show anything there. */
  #inside(bitmap, level, column, row) {
    const { width, height, tile_width: across, tile_height: down } = this.slide.levels[level];
    const canvas = document.createElement("canvas");
    canvas.width = Math.min(across, width - column * across);
    canvas.height = Math.min(down, height - row * down);
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return context;
  }
}

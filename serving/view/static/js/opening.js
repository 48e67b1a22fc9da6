// Opening what a person chooses: a slide of the service, a series, a picture, a table.

import { NUMBERS, bytesOf } from "./half.js";
import { Fault } from "./service.js";
import { PictureSlide, ServiceSlide, TableSlide } from "./slide.js";

const MOST_PICTURE_BYTES = 32 << 20;
const SIDE = 224;

/** Opens a slide of the service's folder, or a series by its address. */
export async function openSlide(service, asked, token) {
  const facts = await service.post("view/open", asked, { token });
  return new ServiceSlide(facts, service, token);
}

/** Opens a file that was chosen or dropped. */
export async function openFile(service, file, listed) {
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  const isParquet = String.fromCharCode(...head) === "PAR1";
  return isParquet ? openTable(service, file, listed) : openPicture(service, file);
}

async function openPicture(service, file) {
  if (file.size > MOST_PICTURE_BYTES) {
    const most = MOST_PICTURE_BYTES >> 20;
    throw new Fault("TOO_LARGE", `A picture may have ${most} MB here; put a slide in the service's folder instead.`);
  }
  const bytes = await file.arrayBuffer();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "none" });
  } catch {
    throw new Fault("NO_PICTURE", "This browser cannot show that file. Choose a JPEG, PNG or WebP.");
  }
  const facts = await service.post("view/picture", bytes);
  if (facts.width !== bitmap.width || facts.height !== bitmap.height) {
    throw new Fault("NO_PICTURE", "The picture is turned by a note in it. Save it upright, and try again.");
  }
  return new PictureSlide({ ...facts, name: file.name }, bytes, bitmap);
}

/** Opens a table: with its slide under it, where that is in the service's folder. */
async function openTable(service, file, listed) {
  const table = await service.post("view/parquet/read", await file.arrayBuffer());
  const { about, dimension } = table;
  const model = { name: about.encoder, digest: about.model, dimension, untrained: about.untrained };
  const facts = await itsSlide(service, about, listed);
  const slide = facts
    ? new ServiceSlide({ ...facts, model }, service)
    : new TableSlide({ ...factsOf(about.frame, file.name), model });
  // Vectors of two models are not to be mixed.
  slide.canEmbed = Boolean(facts) && facts.model.digest === model.digest;
  if (!slide.takeTable(table, new Uint16Array(bytesOf(table.vectors).buffer), NUMBERS)) {
    throw new Fault("NO_GRID", "The table's patches overlap or are shifted; only grids side by side can be shown.");
  }
  return slide;
}

/** Returns the slide that a table is of, from the service's folder; null where it is not there. */
async function itsSlide(service, { slide, frame }, listed) {
  const name = slide.instance;
  const found = listed.find((one) => one.name === name || one.name.endsWith(`/${name}`));
  if (!found || frame.mpp === null) return null;
  const facts = await service.post("view/open", { slide: found.slide, mpp: frame.mpp });
  const isSame = facts.grid.width === frame.width && facts.grid.height === frame.height;
  const isOther = slide.digest && facts.digest && slide.digest !== facts.digest;
  return isSame && !isOther ? facts : null;
}

function factsOf(frame, name) {
  const { level0_width: width, level0_height: height, level0_mpp: mpp } = frame;
  const columns = Math.floor(frame.width / SIDE);
  const rows = Math.floor(frame.height / SIDE);
  const grid = { ...frame, side: SIDE, columns, rows, tissue: null, image_dimensions: null, why_all: "" };
  return { name, width, height, grid, mpp: mpp === null ? null : [mpp, mpp], source: null, head: null };
}

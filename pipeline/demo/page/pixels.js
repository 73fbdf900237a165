// An image as the pixels that the model takes, equal to those of pipeline/predicting.py.
//
// A canvas scales in its own way, which differs from browser to browser. So this scales as Pillow
// 13 does, to the last bit: a cubic filter (Keys 1981, a = -0.5) that widens with the reduction,
// with weights of 22 bits, along one side, rounded, then along the other.
//
// An image is {width, height, data}, data: its rows of pixels, 4 bytes each (RGB and 255).

const ONE = 1 << 22;
const HALF = 1 << 21;

/** Decode a file or another blob: upright, on white where transparent; reject what is no image. */
export async function decode(blob) {
  const bitmap = await createImageBitmap(blob, {
    colorSpaceConversion: "none", // Pillow takes no notice of profiles either
    imageOrientation: "from-image",
  });
  return pixelsOf(bitmap, bitmap.width, bitmap.height);
}

/** Return the pixels of a bitmap, a canvas or the present frame of a video. */
export function pixelsOf(source, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Return an image of width x height: "crop" cuts at the centre, "pad" puts it on black. */
export function fitted(image, width, height, fit) {
  return fit === "pad" ? padded(image, width, height) : cropped(image, width, height);
}

/** Return the pixels as bytes for the model: 3 channels are RGB, 1 is grey. */
export function channelsOf({ data }, channels) {
  const pixels = new Uint8Array((data.length / 4) * channels);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const [red, green, blue] = [data[from], data[from + 1], data[from + 2]];
    if (channels === 1) {
      pixels[to++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      pixels[to++] = red;
      pixels[to++] = green;
      pixels[to++] = blue;
    }
  }
  return pixels;
}

function cropped(image, width, height) {
  const ratio = width / height;
  let [wide, high] = [image.width, image.height];
  if (wide / high > ratio) wide = ratio * high;
  else if (wide / high < ratio) high = wide / ratio;
  const left = (image.width - wide) / 2;
  const top = (image.height - high) / 2;
  return resized(image, [left, top, left + wide, top + high], width, height);
}

function padded(image, width, height) {
  let [wide, high] = [width, height];
  if (image.width / image.height > width / height) high = even((image.height / image.width) * width);
  else wide = even((image.width / image.height) * height);
  const whole = new ImageData(width, height);
  for (let at = 3; at < whole.data.length; at += 4) whole.data[at] = 255;
  if (!wide || !high) return whole; // so thin that nothing of it is left
  const inner = resized(image, [0, 0, image.width, image.height], wide, high);
  const left = even((width - wide) / 2);
  const top = even((height - high) / 2);
  for (let row = 0; row < high; row++) {
    const pixels = inner.data.subarray(row * wide * 4, (row + 1) * wide * 4);
    whole.data.set(pixels, ((top + row) * width + left) * 4);
  }
  return whole;
}

/** Scale the part [left, top, right, bottom] of an image, in pixels or fractions of them. */
function resized(image, [left, top, right, bottom], width, height) {
  const across = weightsOf(image.width, left, right, width);
  const down = weightsOf(image.height, top, bottom, height);
  const reduced = image.height - height;
  // Pillow scales down first where that is less work.
  if (reduced > 0 && reduced > 2 * (image.width - width)) {
    return alongRows(alongColumns(image, down), across);
  }
  return alongColumns(alongRows(image, across), down);
}

/** Return for each of `count` new pixels {first, weights}: the old ones that it is a sum of. */
function weightsOf(length, begin, end, count) {
  const start = Math.fround(begin);
  const scale = Math.fround(Math.fround(end) - start) / count;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: count }, (_, index) => {
    const centre = start + (index + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - 2 * stretch + 0.5), 0);
    const last = Math.min(Math.trunc(centre + 2 * stretch + 0.5), length);
    const weights = [];
    for (let at = first; at < last; at++) {
      weights.push(cubic(Math.abs((at - centre + 0.5) * (1 / stretch))));
    }
    const sum = weights.reduce((total, one) => total + one, 0);
    const whole = weights.map((one) => Math.trunc((one / sum) * ONE + (one < 0 ? -0.5 : 0.5)));
    return { first, weights: Int32Array.from(whole) };
  });
}

function cubic(distance) {
  if (distance < 1) return (1.5 * distance - 2.5) * distance * distance + 1;
  if (distance < 2) return (((distance - 5) * distance + 8) * distance - 4) * -0.5;
  return 0;
}

function alongRows({ width, height, data }, weightsOfPixels) {
  const result = new ImageData(weightsOfPixels.length, height);
  let to = 0;
  for (let row = 0; row < height; row++) {
    for (const { first, weights } of weightsOfPixels) {
      let [red, green, blue] = [HALF, HALF, HALF];
      let from = (row * width + first) * 4;
      for (let at = 0; at < weights.length; at++, from += 4) {
        red += data[from] * weights[at];
        green += data[from + 1] * weights[at];
        blue += data[from + 2] * weights[at];
      }
      result.data[to++] = red >> 22; // ImageData limits it to 0 to 255
      result.data[to++] = green >> 22;
      result.data[to++] = blue >> 22;
      result.data[to++] = 255;
    }
  }
  return result;
}

function alongColumns({ width, data }, weightsOfPixels) {
  const result = new ImageData(width, weightsOfPixels.length);
  const sums = new Int32Array(width * 4);
  weightsOfPixels.forEach(({ first, weights }, row) => {
    sums.fill(HALF);
    weights.forEach((weight, line) => {
      const from = (first + line) * sums.length;
      for (let at = 0; at < sums.length; at++) sums[at] += data[from + at] * weight;
    });
    for (let at = 0; at < sums.length; at++) result.data[row * sums.length + at] = sums[at] >> 22;
  });
  return result;
}

/** Round; halves become even, as Python does it. */
function even(value) {
  const below = Math.floor(value);
  if (value - below === 0.5) return below + (below % 2);
  return Math.round(value);
}

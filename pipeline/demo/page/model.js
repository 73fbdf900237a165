// An exported model in this browser: what it says of itself, its answers, and its self-test.
//
// Classes and sizes are in the metadata of the ONNX file, which the runtime does not show. The file
// and the golden vectors beside it are messages of protobuf: fields with a number, one by one.

import * as ort from "./runtime/ort.wasm.min.mjs";

const FORMAT = 1;
const METADATA = 14; // number of a field of ModelProto
const [DIMS, NAME, RAW_DATA] = [1, 8, 9]; // numbers of fields of TensorProto
const TOLERANCE = { relative: 1e-3, absolute: 1e-4 };
const text = new TextDecoder();

ort.env.wasm.numThreads = 1; // more would need headers that isolate the page
ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;

/** Return {session, classes, input, mean, calibration, bytes}; throw what is wrong, in words. */
export async function openModel(url) {
  const content = await load(url);
  const facts = metadataOf(content);
  if (facts.format !== String(FORMAT)) {
    throw new Error(`${url}: format ${facts.format}; expected a model of this project, format ${FORMAT}`);
  }
  const [classes, input, normalisation] = [facts.classes, facts.input, facts.normalisation].map(JSON.parse);
  const calibration = JSON.parse(facts.calibration ?? "null"); // older models have none
  const session = await ort.InferenceSession.create(content);
  return { session, classes, input, calibration, mean: normalisation.mean, bytes: content.length };
}

/** Return [name, probability] of all classes, the most probable first. pixels: a Uint8Array. */
export async function predict({ session, classes, input }, pixels) {
  const shape = [1, input.height, input.width, input.channels];
  const { probabilities } = await session.run({ images: new ort.Tensor("uint8", pixels, shape) });
  return classes
    .map((name, index) => [name, probabilities.data[index]])
    .sort(([, one], [, other]) => other - one);
}

/** Compute the golden images in `folder`: {told, wrong}, a line and how many differ; null without any. */
export async function selfTest({ session }, folder) {
  const names = ["input_0.pb", "output_0.pb", "output_1.pb"];
  if (!(await fetch(`${folder}/${names[0]}`)).ok) return null;
  const [images, ...expected] = (await Promise.all(names.map((one) => load(`${folder}/${one}`)))).map(tensorOf);
  const count = images.dims[0];
  const found = await session.run({
    [images.name]: new ort.Tensor("uint8", images.data, images.dims),
  });
  const agrees = Array(count).fill(true);
  let largest = 0;
  for (const { name, data, dims } of expected) {
    const right = new Float32Array(data.slice().buffer);
    right.forEach((value, index) => {
      const difference = Math.abs(found[name].data[index] - value);
      largest = Math.max(largest, difference);
      const allowed = TOLERANCE.absolute + TOLERANCE.relative * Math.abs(value);
      if (!(difference <= allowed)) agrees[Math.floor(index / dims[1])] = false;
    });
  }
  const right = agrees.filter(Boolean).length;
  const told = `${right} of ${count} golden images agree, largest difference ${largest.toExponential(1)}`;
  return { told, wrong: count - right };
}

async function load(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: not there; export a model and reload the page`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** Return the metadata of an ONNX file by key; those of our models are JSON. */
function metadataOf(content) {
  const entries = [...fields(content)].filter(([number]) => number === METADATA);
  return Object.fromEntries(entries.map(([, entry]) => [...fields(entry)].map(([, value]) => text.decode(value))));
}

function tensorOf(content) {
  const tensor = { dims: [], name: "", data: null };
  for (const [number, value] of fields(content)) {
    if (number === DIMS) tensor.dims.push(value);
    else if (number === NAME) tensor.name = text.decode(value);
    else if (number === RAW_DATA) tensor.data = value;
  }
  return tensor;
}

/** Yield [number, value] of each field of a message: a whole number, or bytes. */
function* fields(content) {
  let at = 0;
  const whole = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = content[at++];
      value += (byte & 127) * scale;
      if (!(byte & 128)) return value;
    }
  };
  const bytes = (length) => content.subarray(at, (at += length));
  const kinds = { 0: whole, 1: () => bytes(8), 2: () => bytes(whole()), 5: () => bytes(4) };
  while (at < content.length) {
    const key = whole();
    const read = kinds[key & 7];
    if (!read) throw new Error("not an ONNX file");
    yield [key >>> 3, read()];
  }
}

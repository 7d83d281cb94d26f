// Times ONNX models with onnxruntime-web. One request a line of JSON on standard input, one answer a line on standard output.
//   {"version": true}                        -> {"version": "1.30.0", "node": "v20.0.0"}
//   {"build": BASE64, "threads": 1}          -> {"id": 0}
//   {"run": ID, "n": 10}                     -> {"seconds": [...]}
//   {"outputs": ID, "inputs": [...]}         -> {"values": [...]}
//   {"release": ID}                          -> {}
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const ort = require("onnxruntime-web");
const sessions = [];

const handlers = {
  async version() {
    return { version: ort.env.versions.web, node: process.version };
  },
  async build({ build, threads, options }) {
    ort.env.wasm.numThreads = threads;
    const model = Uint8Array.from(Buffer.from(build, "base64"));
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], ...options });
    const feeds = {};
    for (const { name, type, shape } of session.inputMetadata) {
      const n = shape.reduce((a, b) => a * b, 1);
      const wave = () => new Float32Array(n).map((_, i) => Math.sin(12.9898 * i));
      feeds[name] = new ort.Tensor(type, type === "int64" ? new BigInt64Array(n) : wave(), shape);
    }
    sessions.push({ session, feeds });
    return { id: sessions.length - 1 };
  },
  async run({ run, n }) {
    const { session, feeds } = sessions[run];
    const seconds = new Array(n);
    for (let i = 0; i < n; i++) {
      const started = process.hrtime.bigint();
      await session.run(feeds);
      seconds[i] = Number(process.hrtime.bigint() - started) / 1e9;
    }
    return { seconds };
  },
  async outputs({ outputs, inputs }) {
    const { session } = sessions[outputs];
    const { shape } = session.inputMetadata[0];
    const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", Float32Array.from(inputs), shape) };
    const answers = await session.run(feeds);
    const { data, dims } = answers[session.outputNames[0]];
    return { values: Array.from(data), shape: dims };
  },
  async release({ release }) {
    await sessions[release].session.release();
    sessions[release] = undefined;
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const verb = Object.keys(handlers).find((name) => name in request);
  try {
    console.log(JSON.stringify(await handlers[verb](request)));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message ?? error) }));
  }
}
process.exit(0);

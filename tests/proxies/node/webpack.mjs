// webpack-dev-server with its defaults and a proxy, as front-end developers have it.
import { readFileSync } from "node:fs";
import webpack from "webpack";
import WebpackDevServer from "webpack-dev-server";

const { upstream, host, port } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const compiler = webpack({ mode: "none", entry: {}, infrastructureLogging: { level: "error" } });
const server = new WebpackDevServer(
  { host, port, open: false, proxy: [{ context: ["/"], target: upstream }] },
  compiler,
);
await server.start();

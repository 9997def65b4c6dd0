// Express as many run it before something else: `compression` with its defaults, and a proxy.
import compression from "compression";
import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";
import { readFileSync } from "node:fs";

const { upstream, host, port } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const app = express();
app.use(compression());
app.use(createProxyMiddleware({ target: upstream }));
app.listen(port, host);

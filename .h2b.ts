import { clusterOf, DataPath, endpointAt } from "/work/wt/perf/test/support/data-path.ts";
import { http2Defaults } from "/work/wt/perf/proxy/cluster/http2-options.ts";
const grpc = process.argv[3] === "grpc";
const path = await DataPath.start({ cluster: clusterOf([endpointAt(Number(process.argv[2]))], grpc ? { protocol: "http2", http2: http2Defaults } : {}), http: { accessLogs: [{ write() {} }] } });
console.log(path.port);

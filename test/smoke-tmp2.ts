import { create, toJson } from "@bufbuild/protobuf";
import { ServiceKeySchema, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";
import { NacosSource } from "../discovery/nacos/source.ts";
const s = new NacosSource({ addresses: ["http://127.0.0.1:"+process.argv[2]], username: "nacos", password: process.argv[3] });
const ac = new AbortController();
try { console.log(await s.probe(ac.signal), JSON.stringify(await s.list(ac.signal))); } catch (e) { console.log(e); }
setTimeout(()=>ac.abort(), 8000);
const show = async (name: string) => { try { for await (const x of s.watch(create(ServiceKeySchema,{service:name}), ac.signal)) console.log(Date.now(), x.endpoints.length, JSON.stringify(toJson(ServiceSnapshotSchema,x)).slice(0,200)); console.log("ended"); } catch (e) { console.log("threw", e); } };
await Promise.all([show("orders"), show("eph")]);
await s.close();

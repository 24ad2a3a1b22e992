import { mkdtempSync, rmSync } from "node:fs";
import { History as H, ALICE, BOB, deltaOf } from "./test/fixtures/history.ts";
import { ScriptedChain, WithheldStore } from "./test/fixtures/scripted-chain.ts";
import { startIndexerOn } from "./indexer/indexer.ts";
import { draftManifest } from "./protocol/manifest.ts";
import { State } from "./protocol/state.ts";
import { waitForBlock } from "./test/fixtures/indexer-client.ts";
const [A,M]=process.argv.slice(2).map(Number) as [number,number];
const h=new H(); h.register(ALICE); h.register(BOB); const room=h.room(ALICE,BOB);
let tip:any=null; let seq=0; let t=performance.now();
for(let a=0;a<A;a++){ const cids=Array.from({length:M},()=>h.message(ALICE,BOB,{seq:++seq})); const delta=deltaOf([room,cids]); const before=tip?.state??State.EMPTY; const d=h.draft(delta,tip); const e=h.anchorText(d.cid); tip={index:e.index,cid:d.cid,seq:d.manifest.seq,state:before.after(delta,e.index)}; }
console.log("made",Math.round(performance.now()-t));
const dir=mkdtempSync("/tmp/perf-");
t=performance.now(); h.replay(); console.log("bare replay",Math.round(performance.now()-t));
for (const what of ["cold","restart"]) { t=performance.now();
 const i=await startIndexerOn(new ScriptedChain(h),{content:new WithheldStore(h.blocks),indexPath:dir+"/i",host:"127.0.0.1",port:0,pollIntervalMs:50,log:console.log});
 await waitForBlock(i.url,h.events.at(-1)!.blockNumber); console.log(what,Math.round(performance.now()-t),"ms", Math.round(process.memoryUsage().rss/2**20),"MiB");
 t=performance.now(); for(let k=0;k<50;k++) await (await fetch(i.url+`/v1/rooms/${room}/messages?limit=50`)).text(); console.log("page ms",(performance.now()-t)/50);
 t=performance.now(); await (await fetch(i.url+`/v1/rooms/${room}`)).text(); console.log("room ms",(performance.now()-t));
 await i.close(); }
rmSync(dir,{recursive:true});

import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

/**
 * Both contracts of one DMTP deployment.
 *
 * - `owner`: who may replace the anchorer and call `storeCID`; a multisig or a cold account.
 * - `anchorer`: who may call `anchor`; the hot account that the schedule runs with.
 *
 * Both are the deployer (account 0) by default, which is right for a trial; on any chain but a local one ../deploy.ts wants
 * them said. KeyRegistry has no parameters: nobody owns it, and any number of stores can go with one registry.
 *
 * The deployer owns the store first and offers it to `owner`, who has to accept. So an address with a slip in it, or a
 * multisig that isn't on this chain, costs nothing: the deployer still owns the store and can offer it again. The offer is
 * a part of the deployment, so that one that stopped before it isn't complete, and a second run makes up for it.
 */
export default buildModule("DMTP", (m) => {
  const deployer = m.getAccount(0);
  const owner = m.getParameter("owner", deployer);
  const anchorer = m.getParameter("anchorer", deployer);

  const keyRegistry = m.contract("KeyRegistry");
  const cidStore = m.contract("CIDStore", [deployer, anchorer]);
  m.call(cidStore, "transferOwnership", [owner], { id: "offerOwnership", from: deployer });
  return { keyRegistry, cidStore };
});

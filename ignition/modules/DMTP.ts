import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

/**
 * Both contracts of one DMTP deployment.
 *
 * - `owner`: who may replace the anchorer and call `storeCID`; a cold account or a multisig.
 * - `anchorer`: who may call `anchor`; the hot account that the schedule runs with.
 *
 * Both are the deployer (account 0) by default: right for a trial, and the anchorer's default also when the owner is a
 * multisig, which could not anchor on a schedule. KeyRegistry has no parameters: nobody owns it, and any number of stores
 * can go with one registry.
 */
export default buildModule("DMTP", (m) => {
  const deployer = m.getAccount(0);
  const owner = m.getParameter("owner", deployer);
  const anchorer = m.getParameter("anchorer", deployer);

  const keyRegistry = m.contract("KeyRegistry");
  const cidStore = m.contract("CIDStore", [owner, anchorer]);
  return { keyRegistry, cidStore };
});

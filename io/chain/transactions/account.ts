/** Accounts that pay for transactions: with a key that is here, or with one that the node keeps. */
import { SigningKey } from "ethers/crypto";
import { computeAddress, Transaction } from "ethers/transaction";

import { checksummed, parseAddress, type Address } from "../../../protocol/address.ts";
import type { Hex } from "../../../protocol/bytes.ts";
import { malformed, parseHash } from "../rpc/parsed-answer.ts";
import type { Fees } from "./fees.ts";
import type { Rpc, RpcCall } from "../rpc/rpc.ts";

/** A call of a contract as an EIP-1559 transaction. */
export interface TransactionFields {
  readonly chainId: number;
  readonly nonce: number;
  readonly to: Address;
  readonly data: Hex;
  readonly gasLimit: bigint;
  readonly fees: Fees;
}

/** A transaction that can be handed to a node any number of times: it is mined once at most. */
export interface PreparedTransaction {
  /** Null when the node signs: it is known only once the node has answered. */
  readonly hash: Hex | null;
  /** The signed bytes; null when the node signs. */
  readonly raw: Hex | null;
}

export interface Account {
  readonly address: Address;
  prepare(fields: TransactionFields): PreparedTransaction;
  /** Hands it to the node. @returns its hash @throws CHAIN_UNREACHABLE, CHAIN_DISAGREES */
  broadcast(rpc: Rpc, fields: TransactionFields, prepared: PreparedTransaction): Promise<Hex>;
}

/** An account whose key is in this process. */
export class LocalAccount implements Account {
  readonly address: Address;
  private readonly key: SigningKey;

  /** @param privateKey 32 bytes, 0x-hex */
  constructor(privateKey: string) {
    this.key = new SigningKey(privateKey);
    this.address = parseAddress(computeAddress(this.key));
  }

  prepare(fields: TransactionFields): PreparedTransaction & { readonly hash: Hex; readonly raw: Hex } {
    const transaction = Transaction.from({
      type: 2,
      chainId: fields.chainId,
      nonce: fields.nonce,
      to: checksummed(fields.to),
      data: fields.data,
      gasLimit: fields.gasLimit,
      maxFeePerGas: fields.fees.maxFeePerGas,
      maxPriorityFeePerGas: fields.fees.maxPriorityFeePerGas,
    });
    transaction.signature = this.key.sign(transaction.unsignedHash);
    return { hash: transaction.hash as Hex, raw: transaction.serialized as Hex };
  }

  async broadcast(rpc: Rpc, _fields: TransactionFields, { hash, raw }: PreparedTransaction): Promise<Hex> {
    const answer = parseHash(await rpc.request({ method: "eth_sendRawTransaction", params: [raw] }));
    if (answer !== hash) throw malformed("the transaction's hash");
    return answer;
  }
}

/** An account whose key the node keeps, as development chains do. The nonce is given, so it is mined once at most as well. */
export class NodeAccount implements Account {
  readonly address: Address;

  constructor(address: Address) {
    this.address = address;
  }

  prepare(): PreparedTransaction {
    return { hash: null, raw: null };
  }

  async broadcast(rpc: Rpc, { nonce, to, data, gasLimit, fees }: TransactionFields): Promise<Hex> {
    const call: RpcCall = {
      method: "eth_sendTransaction",
      params: [
        {
          from: this.address,
          to,
          data,
          nonce: hex(nonce),
          gas: hex(gasLimit),
          maxFeePerGas: hex(fees.maxFeePerGas),
          maxPriorityFeePerGas: hex(fees.maxPriorityFeePerGas),
        },
      ],
    };
    return parseHash(await rpc.request(call));
  }
}

function hex(value: number | bigint): Hex {
  return `0x${value.toString(16)}`;
}

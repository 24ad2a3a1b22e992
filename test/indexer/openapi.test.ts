import { expect } from "chai";

import { DESCRIPTIONS } from "../../client/api/descriptions.ts";
import { describeApi } from "../../http/openapi.ts";
import { INFO, ROUTES } from "../../indexer/http/routes.ts";

interface Described {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Described>>;
}

/** Every description in a JSON document. */
function descriptionsIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    name === "description" && typeof member === "string" ? [member] : descriptionsIn(member),
  );
}

describe("the indexer's OpenAPI document", () => {
  const { components } = describeApi(INFO, ROUTES) as {
    components: { schemas: Readonly<Record<string, Described>> };
  };

  it("says what each shape means, and says all that is written for it", () => {
    for (const [name, { description }] of Object.entries(components.schemas)) {
      expect(description, name).to.be.a("string");
    }
    const said = new Set(descriptionsIn(components));
    for (const [key, description] of Object.entries(DESCRIPTIONS)) expect(said, key).to.include(description);
  });

  it("says of a member what it means there, beside the shape that it has", () => {
    const member = (shape: string, name: string): unknown => components.schemas[shape]?.properties?.[name];
    expect(member("Reorg", "to")).to.deep.equal({
      description: DESCRIPTIONS["Reorg.to"],
      $ref: "#/components/schemas/Height",
    });
    expect(member("RoomDetail", "n")).to.deep.equal(member("Room", "n"));
    expect(member("Message", "final")).to.deep.equal({ type: "boolean", description: DESCRIPTIONS["final"] });
    expect(member("Message", "binding")).to.include({ description: DESCRIPTIONS["Message.binding"] });
  });
});

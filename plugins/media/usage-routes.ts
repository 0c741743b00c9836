import { Type } from "typebox";
import type { Context } from "../../src/context.ts";
import { viewerOf } from "../../src/http/auth.ts";
import { Nullable } from "../../src/http/paging.ts";
import type { App } from "../../src/http/types.ts";
import { quotaOf } from "./quota.ts";

export async function usageRoutes(app: App, { db, config }: Context): Promise<void> {
  app.get(
    "/me/usage",
    {
      schema: {
        summary: "What one's own pictures take, and may take",
        description:
          "In bytes of the files as they were uploaded; `quota_bytes` is null where there is no limit. An upload beyond it is answered 422 QUOTA_EXCEEDED.",
        tags: ["Media"],
        response: { 200: Type.Object({ used_bytes: Type.Integer(), quota_bytes: Nullable(Type.Integer()) }) },
      },
    },
    async (request) => {
      const { used_bytes, quota_bytes } = await quotaOf(db, config, viewerOf(request).id);
      return { used_bytes, quota_bytes };
    },
  );
}

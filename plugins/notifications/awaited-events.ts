/** Events of comments. */
declare module "../../src/events.ts" {
  interface Events {
    "comment.created": {
      comment_id: string;
      post_id: string;
      post_author_id: string;
      author_id: string;
      parent_id: string | null;
      parent_author_id: string | null;
      created_at: Date;
    };
    "comments.deleted": { post_id: string; comment_ids: string[] };
    "comment.liked": { comment_id: string; post_id: string; author_id: string; user_id: string };
    "comment.unliked": { comment_id: string; post_id: string; author_id: string; user_id: string };
  }
}

export {};

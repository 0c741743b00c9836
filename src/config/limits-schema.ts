import { boolean, limit, section, sizeLimit } from "./units.ts";

/** How often people may do what burdens others, or guess. */
export const limits = section(
  "How often one may do what burdens others. Each limit holds for any window of its length; what was refused and not done does not count, but wrong passwords do.",
  {
    enabled: boolean({ description: "Whether anything is limited.", default: "true" }),
    follow: limit({ description: "Follows and requests to follow, by each account.", default: "30/1h" }),
    post: limit({ description: "Posts, by each account.", default: "10/1h" }),
    like: limit({ description: "Likes, by each account.", default: "100/1h" }),
    comment: limit({ description: "Comments, by each account.", default: "50/1h" }),
    login: limit({ description: "Wrong passwords at the sign-in, from each address.", default: "5/1m" }),
    password: limit({
      description: "Wrong passwords in each session that is asked for one again, to change it, say.",
      default: "5/1m",
    }),
    login_account: limit({
      description:
        "Wrong passwords for each name or email, from all addresses together from which its owner has not signed in so far. It holds up guesses from many addresses, and never an owner where they have been.",
      default: "50/1h",
    }),
    registration: limit({
      description: "New accounts, from each address but the machine's own.",
      default: "50/1h",
    }),
    recovery: limit({
      description: "Links for a new password that are asked for, from each address but the machine's own.",
      default: "30/1h",
    }),
    search: limit({ description: "Searches, by each account.", default: "1000/1m" }),
    upload: sizeLimit({
      description: "Bytes of pictures that each account sends, whether or not they are taken in the end.",
      default: "5gb/1d",
    }),
  },
);

/** README.txt of an archive, for whoever unpacks it. Each file and field is described in docs/takeout.md. */
export function readme(username: string, at: Date): string {
  return `This is what this server keeps of ${username}, as of ${at.toISOString()}.

profile.json               your account: names, email address, counts
sessions.json              where you are signed in
sign_in_addresses.json     from where you have signed in
avatar.jpg (or .png ...)   your profile picture as you uploaded it
avatar_upload.jpg          only if a profile picture you uploaded is not shown: that
followers.json             who follows you
following.json             whom you follow
follow_requests.json       who asks to follow you
sent_follow_requests.json  whom you ask
blocks.json                whom you block
mutes.json                 whom you have muted
close_friends.json         who sees your stories for close friends
stories_hidden_from.json   from whom you hide your stories
notifications.json         what you were told in the last 90 days
notification_preferences.json  what you want to be told
posts.json                 your posts, with their captions and the names of their pictures
stories.json               your stories, with how many have seen each
highlights.json            your highlights, with what is in them
story_preferences.json     whether your stories are kept when they are over
story_views.json           whose stories you have seen, and your reactions
likes.json                 which posts you like
comments.json              what you have written below posts
comment_likes.json         which comments you like
saved.json                 which posts you have saved, and in which collections they are
collections.json           the names of your collections
media/                     the pictures of your posts as you uploaded them, a folder a post
stories/                   the pictures of your stories
missing.txt                only if something could not be found: what

The .json files are text; any editor or browser shows them. Times are in UTC.
Your password is not in here: only a scrambled form of it is kept, which opens nothing.

Keep this archive to yourself. Your photos may say where they were taken.
`;
}

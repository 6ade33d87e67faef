/** A state as plain JSON: what must be equal to a fresh boot. */
export const plain = (state) => ({
  user: state.user,
  users: [...state.users.values()],
  channels: [...state.channels.values()],
  messages: Object.fromEntries(state.messages),
});

// Group commit: posts that arrive together share one transaction, and so one fsync.

const MOST = 256;

/**
 * Makes of `commit(posts)`, which returns an outcome for each, an `accept(post)` that promises one.
 *
 * A commit blocks the event loop; what arrives meanwhile is read in the next turn and makes the
 * next group.
 */
export function groupCommit(commit) {
  let waiting = [];

  function flush() {
    const group = waiting.slice(0, MOST);
    waiting = waiting.slice(MOST);
    if (waiting.length > 0) setImmediate(flush);
    settle(group, commit);
  }

  return (post) =>
    new Promise((resolve, reject) => {
      if (waiting.length === 0) setImmediate(flush);
      waiting.push({ post, resolve, reject });
    });
}

function settle(group, commit) {
  let outcomes;
  try {
    outcomes = commit(group.map(({ post }) => post));
  } catch (error) {
    for (const { reject } of group) reject(error);
    return;
  }
  group.forEach(({ resolve }, index) => resolve(outcomes[index]));
}

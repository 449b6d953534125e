// Knowing why: what ended a context, and what hangs below one. For people, logs and debuggers.
#pragma once

#include <heed/context.hpp>

#include <iosfwd>
#include <string>

namespace heed::inline v0 {

/// What a context is, and why it ended or what still can end it; several lines of text, for people:
///
///     background.with_cancel.with_value(user).with_deadline(in 4.750s)
///     ended: context canceled
///     cause: maintenance
///     where: server.cpp:28 in int main()
///     what:  a cancel of with_cancel, 2 steps up
///     down:  with_cancel.with_value(user).with_deadline(in 4.750s)
///
/// The first line is the way down to it, as in to_string(), of values only the names of their keys. `where`
/// is the line of the cancel() call that ended it or an ancestor; for a deadline the line of the
/// with_timeout() or with_deadline() that set it; for a cancel_func that left its scope, the line that made
/// it. `down` is the way from the context that was ended to this one. While it is live, a line for each
/// context that could end it:
///
///     background.with_cancel.with_value(user).with_deadline(in 4.750s)
///     live; what can end it:
///       with_deadline, itself: its deadline, in 4.750s; its cancel
///       with_cancel, 2 steps up: its cancel
///
/// Costs nothing until it is called: the place of an end is one pointer, which a context has anyway.
/// Thread-safe; what it says held at one moment of the call. Time is told by the context's scheduler. Long
/// ways are cut in the middle, so the text stays short however deep the tree is; the call takes time and
/// memory for each ancestor. Calls `name()` of custom contexts on the way, `what()` of an exception that is
/// the cause, and the scheduler's `now()`: foreign code, run with no lock held. Throws `std::bad_alloc` and
/// what these throw. The text may change between versions; programs ask err(), cause() and canceled_at().
HEED_API std::string explain(const context& ctx);

/// How dump() writes.
enum class dump_format {
  text,  ///< a line for each context, indented: for a log or a terminal
  dot,   ///< a digraph for Graphviz: `dot -Tsvg`; long texts are cut, as it refuses them
  json,  ///< one object: for programs
};

/// Writes the tree below `root`, as it is now: of each context what kind it is, whether it is live or what
/// ended it, its deadline with what is left by the scheduler's clock, the keys of the values between it and
/// the context above (never the values themselves), and how many handles (contexts, cancel_funcs, cancelers;
/// where something can end it, one for each value made of it that has handles), cancel_callbacks and
/// after_funcs it has. Contexts are called n1, n2, ... in the order in which they are printed; `root` is n1.
///
///     n1 with_cancel: live, 2 handles
///       n2 with_deadline: live, deadline in 4.750s, values: user, 2 handles, 1 cancel_callback
///
/// What hangs under a context is known where ending it would end that: the contexts that can end, the nearest
/// ones below `root` and on from there. A context that has ended has let go of what was below it, and is
/// printed without. Under `without_cancel()`, `background()` and `todo()` nothing is known. **With
/// `HEED_TRACK=1`** (below) everything is: values and without_cancel()s are contexts of the picture like all
/// others, so is what is below those and below ended ones; each has the line that made it; and under
/// `background()` hangs all there is, also what hangs under `todo()` or `background(scheduler)`.
///
/// Safe while other threads change the tree: what is there all the time is printed; what comes or goes
/// meanwhile may be. Contexts that are looked at are kept until the look is over, and so may be destroyed by
/// this call, with their values: before it writes the first byte. With tracking, the list of all contexts is
/// copied in one go, and others that make or free one meanwhile wait for that. Time and memory are linear in
/// the contexts looked at (with tracking: in all there are); no stack is used for depth, and text is indented
/// 16 steps at most, and names what it hangs under from there on.
///
/// JSON: `{"tracked": bool, "root": "n1", "contexts": [...]}`; a context is an object with `id`, `parents` (a
/// list of ids; a merge may have two), `kind` (`background`, `todo`, `with_cancel`, `with_deadline`,
/// `with_value`, `without_cancel`, `merge` or `custom`), `state` (`live`, `canceled` or `deadline_exceeded`),
/// `handles`, `callbacks`, `functions`, `values` (a list of key names), and where they apply `name` (of a
/// custom context), `deadline_in_s` (a number, negative once it is past; null: never), `deadline_at_s`
/// (instead of that, where only its own scheduler could tell the present), `cause`, `ended_at` and `made_at`
/// (`{"file": ..., "line": ...}`), `ended_by` (the id of the ancestor that took it along). Members may be
/// added; those that exist stay. Text that is not UTF-8 is made so.
///
/// Calls `name()` of custom contexts, `what()` of exceptions that are causes, `now()` of root's scheduler,
/// and the stream: foreign code, run with no lock held. Nothing of the stream's formatting or locale has a
/// part in it. Throws `std::bad_alloc`, what these throw, and `std::invalid_argument` for a format that is
/// none.
HEED_API void dump(std::ostream& out, const context& root, dump_format format = dump_format::text);

/// **HEED_TRACK.** Where this environment variable is 1 when a program makes its first context, heed keeps a
/// list of all contexts that are alive, with the lines that made them, and writes those that are left at exit
/// to the standard error stream, the oldest first:
///
///     heed: 2 contexts are still alive at exit:
///       #1 with_cancel under background, live, 1 handle, made at server.cpp:28
///       #2 with_value(user) under #1, live, 1 handle, made at server.cpp:30
///
/// Nothing is written where none is left. A value that was made in place has no line: "made somewhere". A
/// context without handles is kept by what is below it, or by a callback or after_func on it.
///
/// - *When:* after the destructors of all static objects, also of those that were made first; so a context in
///   a static object is not listed. After `exit()` and `return` from `main`; not after `_exit`, `quick_exit`,
///   `abort` or a signal. Threads that still run have their contexts listed.
/// - *fork:* a child that ends by `exit()` writes its own list, with all that it has from its parent.
/// - *Costs:* off, a load and a branch for each context made and freed. On, an allocation and a short lock of
///   the whole process for each. Where there is no memory, the context is made all the same and not listed;
///   the list ends with how many. Values other than 0, 1 and nothing are refused: a line on the standard
///   error stream, and no tracking. Anything that is named here keeps its promises with tracking on.
///
/// `tracking()` is whether it is on; settles it where no context was made yet. Thread-safe.
HEED_API bool tracking() noexcept;

}  // namespace heed::inline v0

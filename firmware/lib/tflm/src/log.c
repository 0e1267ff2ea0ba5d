// The library's errors go nowhere: what it would write them to (an Arduino core's Serial) is the
// link. What failed is in the result of cl_engine_open. Weak, because a library that was not built
// as an archive brings its own.
void DebugLog(const char *text);

__attribute__((weak)) void DebugLog(const char *text)
{
    (void)text;
}

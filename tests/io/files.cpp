#include <algorithm>
#include <csignal>
#include <cstdint>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "temporary_folder.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/mapped_file.hpp"
#include "tenon/io/token_file.hpp"
#include "thrown_message.hpp"

using namespace tenon;

TEST_CASE("an atomic file appears at its commit, and nothing stays beside it") {
    TemporaryFolder folder;
    std::string path = folder / "weights";
    AtomicFile file(path);
    file.write("first, ");
    file.write(std::string(200'000, 'x'));
    CHECK_FALSE(path_exists(path));
    file.commit();
    CHECK(read_file(path) == "first, " + std::string(200'000, 'x'));
    CHECK(folder.names() == std::vector<std::string>{"weights"});
}

TEST_CASE("without a commit an atomic file leaves what was there") {
    TemporaryFolder folder;
    std::string path = folder / "weights";
    write_file(path, "old");
    {
        AtomicFile file(path);
        file.write("new");
    }
    CHECK(read_file(path) == "old");
    CHECK(folder.names().size() == 1);
}

TEST_CASE("two atomic files for one path do not disturb each other: the last commit stays") {
    TemporaryFolder folder;
    AtomicFile first(folder / "a");
    AtomicFile second(folder / "a");
    first.write("first");
    second.write("second");
    second.commit();
    first.commit();
    CHECK(read_file(folder / "a") == "first");
    CHECK(folder.names().size() == 1);
}

TEST_CASE("what killed processes left of a file is removed, and nothing else") {
    TemporaryFolder folder;
    const std::vector<std::string> kept = {"a",          "a.tmp",       "a.tmp1",     "a.tmp1-",  "a.tmp-0",
                                           "a.tmp1-0.b", "a.tmpx1-0",   "aa.tmp1-0",  "b.tmp1-0", "a.tm1-0",
                                           "A.tmp1-0",   "a.tmp1-0x-1", "a.b.tmp1-0", ".tmp1-0"};
    for (const std::string& name : kept) write_file(folder / name, "x");
    for (const char* name : {"a.tmp1-0", "a.tmp123456-17"}) write_file(folder / name, "half");
    AtomicFile unfinished(folder / "a");
    CHECK(folder.names().size() == kept.size() + 3);
    remove_unfinished(folder / "a");
    const std::vector<std::string> names = names_in_folder(folder.path());
    for (const std::string& name : kept) CHECK(std::count(names.begin(), names.end(), name) == 1);
    CHECK(names.size() == kept.size());
    CHECK_NOTHROW(remove_unfinished(folder / "absent/a"));
}

TEST_CASE("an atomic file can be committed once, and not written afterwards") {
    TemporaryFolder folder;
    AtomicFile file(folder / "a");
    file.commit();
    CHECK_THROWS_AS(file.commit(), FileError);
    CHECK_THROWS_AS(file.write(std::string(100'000, 'x')), FileError);
    CHECK(read_file(folder / "a").empty());
}

TEST_CASE("a write that the system refuses is an error, and leaves what was there") {
    TemporaryFolder folder;
    std::string path = folder / "a";
    write_file(path, "old");
    rlimit previous{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &previous) == 0);
    rlimit small = previous;
    small.rlim_cur = 100'000;
    auto handler = std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    std::string message = thrown_message([&] { write_file(path, std::string(200'000, 'x')); });
    ::setrlimit(RLIMIT_FSIZE, &previous);
    std::signal(SIGXFSZ, handler);
    check_mentions(message, {path.c_str(), "writing failed", "too large"});
    CHECK(read_file(path) == "old");
    CHECK(folder.names() == std::vector<std::string>{"a"});
}

TEST_CASE("the file has the mode that the umask leaves") {
    TemporaryFolder folder;
    mode_t previous = ::umask(022);
    write_file(folder / "a", "x");
    ::umask(previous);
    struct stat status {};
    REQUIRE(::stat((folder / "a").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0644);
}

TEST_CASE("errors name the file and the system's reason") {
    TemporaryFolder folder;
    check_mentions(thrown_message([&] { AtomicFile(folder / "missing/a"); }), {"missing/a", "No such file"});
    check_mentions(thrown_message([&] { read_file(folder / "absent"); }), {"absent", "No such file"});
    check_mentions(thrown_message([&] { read_file(folder.path()); }), {"expected a regular file", "folder"});
    check_mentions(thrown_message([&] { MappedFile("/dev/zero"); }), {"/dev/zero", "special file"});
    check_mentions(thrown_message([&] { MappedFile(""); }), {"empty string"});
    check_mentions(thrown_message([&] { read_file(std::string("a\0b", 3)); }), {"NUL"});
    check_mentions(thrown_message([&] {
                       create_folder(folder / "target");
                       write_file(folder / "target", "x");
                   }),
                   {"target", "renaming", "directory"});
    CHECK(folder.names() == std::vector<std::string>{"target"});
}

TEST_CASE("a pipe that nobody writes to does not hang a reader") {
    TemporaryFolder folder;
    std::string path = folder / "pipe";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    check_mentions(thrown_message([&] { read_file(path); }), {"special file"});
}

TEST_CASE("create_folder creates what is missing, and refuses a file in the way") {
    TemporaryFolder folder;
    create_folder(folder / "a/b//c/");
    create_folder(folder / "a/b/c");
    write_file(folder / "a/b/c/file", "x");
    CHECK(read_file(folder / "a/b/c/file") == "x");
    check_mentions(thrown_message([&] { create_folder(folder / "a/b/c/file/d"); }), {"a/b/c/file", "exists"});
    CHECK_THROWS_AS(create_folder(""), FileError);
}

TEST_CASE("folder_of gives the part before the last slash") {
    CHECK(folder_of("a") == ".");
    CHECK(folder_of("/a") == "/");
    CHECK(folder_of("/a/b") == "/a");
    CHECK(folder_of("a/b/c") == "a/b");
}

TEST_CASE("a mapped file is its bytes, moves, and outlives its replacement") {
    TemporaryFolder folder;
    std::string path = folder / "a";
    write_file(path, "abc");
    MappedFile first(path);
    MappedFile file = std::move(first);
    CHECK(first.bytes().empty());
    write_file(path, "other");
    REQUIRE(file.bytes().size() == 3);
    CHECK(file.bytes()[2] == std::byte{'c'});
    file = MappedFile(path);
    CHECK(file.bytes().size() == 5);
    write_file(path, "");
    CHECK(MappedFile(path).bytes().empty());
}

TEST_CASE("files that are part of the program are read like others, where they lie") {
    static constexpr std::byte bytes[] = {std::byte{'a'}, std::byte{'b'}};
    static const EmbeddedFile files[] = {{"embedded:one/weights", bytes}, {"embedded:one/nothing", {}}};
    static const EmbeddedFiles all(files);
    CHECK(read_file("embedded:one/weights") == "ab");
    CHECK(read_file("embedded:one/nothing").empty());
    MappedFile file("embedded:one/weights");
    file = MappedFile("embedded:one/weights");
    CHECK(file.bytes().data() == bytes);
    CHECK(path_exists("embedded:one"));
    CHECK(is_folder("embedded:one"));
    CHECK_FALSE(is_folder("embedded:one/weights"));
    for (const char* none : {"embedded:on", "embedded:one/weight", "embedded:one/", "embedded:two"})
        CHECK_FALSE(path_exists(none));
    CHECK(thrown_message([] { read_file("embedded:one/other"); }).starts_with("embedded:one/other: opening"));
}

TEST_CASE("tokens come back as they were written") {
    TemporaryFolder folder;
    std::string path = folder / "tokens.bin";
    std::vector<std::uint32_t> tokens;
    for (std::uint32_t i = 0; i < 100'000; ++i) tokens.push_back(i * 7919 % 65536);
    TokenFileWriter<std::uint16_t> writer(path);
    writer.append(std::span<const std::uint32_t>(tokens));
    std::vector<std::uint16_t> narrow = {1, 258};
    writer.append(std::span<const std::uint16_t>(narrow));
    CHECK(writer.size() == 100'002);
    writer.commit();

    TokenFile<std::uint16_t> file(path);
    REQUIRE(file.size() == 100'002);
    bool equal = true;
    for (std::size_t i = 0; i < tokens.size(); ++i) equal = equal && file.tokens()[i] == tokens[i];
    CHECK(equal);
    CHECK(file.tokens().back() == 258);
    std::string bytes = read_file(path);
    CHECK(bytes.substr(bytes.size() - 2) == "\x02\x01");  // little-endian
    CHECK(TokenFile<std::uint32_t>(path).size() == 50'001);
}

TEST_CASE("a token file has whole tokens, and tokens that fit") {
    TemporaryFolder folder;
    write_file(folder / "odd", "abc");
    check_mentions(thrown_message([&] { TokenFile<std::uint16_t>(folder / "odd"); }),
                   {"odd", "tokens of 2 bytes", "3 bytes"});
    write_file(folder / "empty", "");
    CHECK(TokenFile<std::uint32_t>(folder / "empty").tokens().empty());
    TokenFileWriter<std::uint16_t> writer(folder / "wide");
    std::vector<std::uint32_t> tokens = {65535, 65536};
    check_mentions(thrown_message([&] { writer.append(std::span<const std::uint32_t>(tokens)); }),
                   {"wide", "token 1", "16 bits", "65536"});
}

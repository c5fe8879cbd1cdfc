#include "tenon/training/metrics_file.hpp"

#include <string>

#include <doctest/doctest.h>

#include "../io/temporary_folder.hpp"
#include "../io/thrown_message.hpp"
#include "tenon/training/metrics.hpp"

using namespace tenon;

TEST_CASE("metrics read back as the points of a curve, bit for bit") {
    TemporaryFolder folder;
    const std::string path = folder / "metrics";
    {
        MetricsWriter metrics(path);
        metrics.write({{"step", 1}, {"loss", 0.1}});
        metrics.write({{"step", 2}, {"other", 7.0}});
        metrics.write({{"step", 3}, {"loss", 1.0 / 0.0}});
        metrics.write({{"step", 11}, {"loss", 2}});
    }
    const auto points = read_metric(path, "loss");
    REQUIRE(points.size() == 2);
    CHECK((points[0].x == 1 && points[0].y == 0.1));
    CHECK((points[1].x == 11 && points[1].y == 2));
    CHECK(read_metric(folder / "absent", "loss").empty());
    check_mentions(thrown_message([&] { read_metric(folder.path(), "loss"); }), {"folder"});
}

TEST_CASE("a run that is taken up drops the lines that it will write again, and what is none") {
    TemporaryFolder folder;
    const std::string path = folder / "metrics", kept = "{\"step\": 1, \"loss\": 0.5}\n{\"step\": 4}\n";
    write_file(path,
               "{\"step\": 1, \"loss\": 0.5}\n" + std::string(5, '\0') +
                   "\nnoise\n[1]\n{\"step\": \"two\"}\n{\"step\": 4}\n{\"step\": 5}\n{\"step\": 3, \"lo");
    CHECK(read_metric(path, "loss").size() == 1);
    keep_metrics_until(path, 4);
    CHECK(read_file(path) == kept);
    keep_metrics_until(path, 9);
    CHECK(read_file(path) == kept);
    keep_metrics_until(folder / "absent", 9);
    CHECK(read_file(folder / "absent").empty());
}

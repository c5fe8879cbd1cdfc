#pragma once

namespace tenon {

/// The square root, in constant expressions of every compiler (Heron's).
constexpr double constant_root(double x) {
    double root = x > 1 ? x : 1;
    for (;;) {
        const double next = (root + x / root) / 2;
        if (!(next < root)) return root;
        root = next;
    }
}

}  // namespace tenon

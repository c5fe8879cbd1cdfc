#pragma once

/// What a mixture of experts does with tokens, beside products: chooses experts, sends rows to them, and adds
/// up what comes back.

#include <tenon/op/experts/dispatch.hpp>
#include <tenon/op/experts/route.hpp>
#include <tenon/op/experts/rows.hpp>

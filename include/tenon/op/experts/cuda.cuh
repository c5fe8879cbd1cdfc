#pragma once

#include <tenon/op/experts/dispatch.cuh>
#include <tenon/op/experts/route.cuh>
#include <tenon/op/experts/rows.cuh>

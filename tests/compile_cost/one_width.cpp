#include "train.hpp"

int main() { train<64>(); }
